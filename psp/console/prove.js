"use strict";
// Checks the page that it stands in: each member's receipt, the answer under it, and every figure
// that is shown. It reads nothing from outside. Sources: RFC 9162 section 2.1.3.2 (inclusion),
// C2SP signed-note and tlog-checkpoint, docs/auditing.md (the entry of a read).
(async () => {
  const page = JSON.parse(document.getElementById("evidence").textContent);
  const verdict = document.getElementById("verdict");
  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const utf8 = (text) => new TextEncoder().encode(text);
  const hex = (data) => Array.from(data, (x) => x.toString(16).padStart(2, "0")).join("");
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const join = (...parts) => {
    const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    parts.reduce((at, part) => (out.set(part, at), at + part.length), 0);
    return out;
  };
  const sha256 = async (...parts) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
  // Parts joined so that they can be told apart again: psp/capability/_signing.py.
  const long = (number) => {
    const out = new Uint8Array(8);
    new DataView(out.buffer).setBigUint64(0, BigInt(number), true);
    return out;
  };
  const pae = (...parts) =>
    join(long(parts.length), ...parts.flatMap((part) => [long(part.length), part]));
  const fail = (why) => { throw new Error(why); };

  // Receipts

  const inclusion = async (proof, size, root) => {
    let fn = BigInt(proof.index), sn = BigInt(size) - 1n;
    let node = await sha256(Uint8Array.of(0), decode(proof.entry));
    if (fn > sn) fail("its receipt is beyond the record");
    for (const text of proof.hashes) {
      const other = decode(text);
      if (sn === 0n) fail("its receipt has a hash too many");
      if (fn & 1n || fn === sn) {
        node = await sha256(Uint8Array.of(1), other, node);
        while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
      } else node = await sha256(Uint8Array.of(1), node, other);
      fn >>= 1n; sn >>= 1n;
    }
    if (sn !== 0n || !same(node, root)) fail("its receipt is not in the record it names");
  };

  const signed = async (note, line) => {
    const end = note.indexOf("\n\n");
    const body = note.slice(0, end + 1), [name, id, material] = line.split(/\+(.*?)\+(.*)/s);
    const key = decode(material).slice(1);
    const [origin, size, root] = body.split("\n");
    if (end < 0 || origin !== name) fail("its checkpoint is of another record");
    const mark = `\u2014 ${name} `;
    const found = note.slice(end + 2).split("\n").filter((it) => it.startsWith(mark));
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    for (const it of found) {
      const signature = decode(it.slice(mark.length));
      if (hex(signature.slice(0, 4)) === id &&
          await crypto.subtle.verify("Ed25519", imported, signature.slice(4), utf8(body)))
        return { size, root: decode(root) };
    }
    return fail("its checkpoint is not signed by its key");
  };

  // Values: exact fractions, texts, or null

  const fraction = (p, q = 1n, more = {}) => {
    if (q < 0n) { p = -p; q = -q; }
    let a = p < 0n ? -p : p, b = q;
    while (b) [a, b] = [b, a % b];
    return { p: p / (a || 1n), q: q / (a || 1n), ...more };
  };
  const big = (data) => {
    let value = 0n;
    for (const x of data) value = (value << 8n) | BigInt(x);
    return data.length && data[0] & 128 ? value - (1n << BigInt(8 * data.length)) : value;
  };
  const decimalText = (unscaled, scale) => {
    const sign = unscaled < 0n ? "-" : "", digits = (unscaled < 0n ? -unscaled : unscaled).toString();
    if (!scale) return sign + digits;
    const padded = digits.padStart(scale + 1, "0");
    return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
  };
  const ofFloat = (value) => {
    if (!Number.isFinite(value)) return fail("a figure of it is beyond all numbers");
    let q = 1n;
    while (!Number.isInteger(value)) { value *= 2; q *= 2n; }
    return fraction(BigInt(value), q, { approximate: true });
  };
  const extension = (code, data) => {
    if (code === 1) {
      const unscaled = big(data.slice(1));
      return fraction(unscaled, 10n ** BigInt(data[0]), { text: decimalText(unscaled, data[0]) });
    }
    if (code === 2) {
      return { text: new Date(Number(big(data)) * 86400000).toISOString().slice(0, 10) };
    }
    return fail("a value of it has an unknown kind");
  };

  const unpack = (data) => {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    let at = 0;
    const take = (size) => {
      if (at + size > data.length) fail("its answer is cut short");
      at += size;
      return at - size;
    };
    const number = (size) => big(join(Uint8Array.of(0), data.slice(take(size), at)));
    const count = (size) => Number(number(size));
    const list = (size) => Array.from({ length: size }, value);
    const map = (size) => {
      const found = new Map();
      for (; size; size--) { const key = value(); found.set(key.text, value()); }
      return found;
    };
    const text = (size) => ({
      text: new TextDecoder("utf-8", { fatal: true }).decode(data.slice(take(size), at)),
    });
    const bytes = (size) => ({ text: hex(data.slice(take(size), at)) });
    const ext = (size) => { const code = view.getInt8(take(1)); return extension(code, data.slice(take(size), at)); };
    const whole = (value) => fraction(value, 1n, { text: value.toString() });
    const value = () => {
      const b = data[take(1)];
      if (b < 0x80) return whole(BigInt(b));
      if (b < 0x90) return map(b & 15);
      if (b < 0xa0) return list(b & 15);
      if (b < 0xc0) return text(b & 31);
      if (b >= 0xe0) return whole(BigInt(b - 256));
      switch (b) {
        case 0xc0: return null;
        case 0xc2: return { text: "false" };
        case 0xc3: return { text: "true" };
        case 0xc4: return bytes(count(1));
        case 0xc5: return bytes(count(2));
        case 0xc6: return bytes(count(4));
        case 0xc7: return ext(count(1));
        case 0xc8: return ext(count(2));
        case 0xcb: return ofFloat(view.getFloat64(take(8)));
        case 0xcc: return whole(number(1));
        case 0xcd: return whole(number(2));
        case 0xce: return whole(number(4));
        case 0xcf: return whole(number(8));
        case 0xd0: return whole(big(data.slice(take(1), at)));
        case 0xd1: return whole(big(data.slice(take(2), at)));
        case 0xd2: return whole(big(data.slice(take(4), at)));
        case 0xd3: return whole(big(data.slice(take(8), at)));
        case 0xd4: return ext(1);
        case 0xd5: return ext(2);
        case 0xd6: return ext(4);
        case 0xd7: return ext(8);
        case 0xd8: return ext(16);
        case 0xd9: return text(count(1));
        case 0xda: return text(count(2));
        case 0xdb: return text(count(4));
        case 0xdc: return list(count(2));
        case 0xdd: return list(count(4));
        case 0xde: return map(count(2));
        case 0xdf: return map(count(4));
        default: return fail("its answer is in no form of ours");
      }
    };
    const found = value();
    return at === data.length ? found : fail("something follows its answer");
  };

  // What was asked, from the plan itself: each receipt names it, so it cannot be relabelled

  const texts = (_, it) => (typeof it === "bigint" ? it.toString() : it);
  const wanted = unpack(decode(page.plan));
  const measures = wanted[3].map(([word]) => word.text);
  const words = ([word, one, other]) => {
    if (word === "constant") return one;
    if (word !== "measure") return `(${words(one)} ${word} ${words(other)})`;
    const [operation, column] = wanted[3][one];
    return `${operation.text}(${column.length ? column[0].text : "*"})`;
  };

  // Figures

  const isNumber = (it) => it !== null && it.q !== undefined;
  const need = (it) => (isNumber(it) ? it : fail("a figure of it is no number"));
  const rough = (a, b) => (a.approximate || b.approximate ? { approximate: true } : {});
  const add = (a, b) =>
    a === null ? b : b === null ? a
      : fraction(need(a).p * need(b).q + b.p * a.q, a.q * b.q, rough(a, b));
  const less = (a, b) =>
    isNumber(a) && isNumber(b) ? a.p * b.q < b.p * a.q
      : isNumber(a) || isNumber(b) ? fail("figures of two kinds") : a.text < b.text;
  const combine = {
    count: add,
    sum: add,
    mean: (a, b) => (a === null ? b : b === null ? a : [add(a[0], b[0]), add(a[1], b[1])]),
    min: (a, b) => (a === null ? b : b === null || !less(b, a) ? a : b),
    max: (a, b) => (a === null ? b : b === null || !less(a, b) ? a : b),
  };
  const calculate = {
    "+": add,
    "-": (a, b) => add(a, fraction(-b.p, b.q, b)),
    "*": (a, b) => fraction(a.p * b.p, a.q * b.q, rough(a, b)),
    "/": (a, b) => (b.p === 0n ? null : fraction(a.p * b.q, a.q * b.p, rough(a, b))),
  };
  const constant = (text) => {
    const [whole, part = ""] = text.split(".");
    return fraction(BigInt(whole + part), 10n ** BigInt(part.length));
  };
  const evaluate = (expression, figures) => {
    const [word, one, other] = expression;
    if (word === "constant") return constant(one);
    if (word === "measure") {
      const figure = figures[one];
      if (measures[one] !== "mean" || figure === null) return figure;
      return figure[0] === null ? null : calculate["/"](need(figure[0]), need(figure[1]));
    }
    const [a, b] = [evaluate(one, figures), evaluate(other, figures)];
    return a === null || b === null ? null : calculate[word](need(a), need(b));
  };
  const together = (parts) =>
    measures.map((word, at) => parts.map((part) => part[at]).reduce(combine[word]));

  const agrees = (shown, value, kind) => {
    const plain = shown.trim().replaceAll(",", "").replace("\u2212", "-");
    if (value === null) return plain === "\u2013";
    if (!isNumber(value)) return shown.trim() === value.text;
    if (!/^-?\d+(\.\d+)?$/.test(plain)) return false;
    const said = constant(plain), digits = (plain.split(".")[1] || "").length;
    let off = said.p * value.q - value.p * said.q;
    if (off < 0n) off = -off;
    const size = said.q * value.q;
    if (value.approximate) {
      return off * 10n ** 9n <= (value.p < 0n ? -value.p : value.p) * said.q + size;
    }
    // A calculated figure is rounded for the eye: to half of its last digit, and no further.
    return kind === "derived" ? off * 2n * 10n ** BigInt(digits) <= size : off === 0n;
  };
  const row = (element, parts) => {
    const wrong = [];
    const figures = parts.length ? together(parts) : null;
    page.outputs.forEach(({ name, kind, expression }, at) => {
      const cell = element.querySelector(`[data-column="${at}"]`);
      const value = figures && evaluate(expression, figures);
      if (!cell || !agrees(cell.textContent, value, kind)) wrong.push(name);
    });
    return wrong.length ? fail(`${wrong.join(", ")}: not what was answered`) : "verified";
  };
  const mark = async (element, work) => {
    let state = "proven", words;
    try { words = await work(); } catch (error) { state = "broken"; words = error.message; }
    element.classList.add(state);
    element.querySelector("[data-proof]").textContent = words;
    return state === "proven";
  };

  // The page

  const defined = page.outputs.map((it) => `${it.name} = ${words(it.expression)}`).join(", ");
  document.getElementById("asked").textContent =
    `Asked of ${wanted[0].text}, under ${wanted[1].length} conditions: ${defined}`;
  if (!crypto.subtle) {
    verdict.textContent = "This browser cannot check signatures here. Use: psp verify";
    return;
  }
  const question = JSON.stringify([wanted[0], wanted.slice(0, 4)], texts);
  const answers = new Map();
  const check = async (member) => {
    const proof = member.proof, data = decode(member.answer);
    const entry = JSON.parse(new TextDecoder().decode(decode(proof.entry)));
    const { size, root } = await signed(proof.note, member.key);
    await inclusion(proof, size, root);
    if (entry.kind !== "read" || entry.result !== hex(await sha256(data))) {
      fail("its answer is not the one on its record");
    }
    const command = await sha256(pae(utf8("PSP1.commands"), decode(member.command)));
    const [[, [table]], [, [plan]]] = unpack(decode(member.command));
    const asked = JSON.stringify([table, plan.slice(0, 4)], texts);
    if (entry.command !== hex(command) || asked !== question) {
      fail("its receipt is of another question");
    }
    const answer = unpack(data), other = answer.get("other");
    const cells = answer.get("cells").map(([key, figures]) => [key, figures]);
    return other === null ? cells : [...cells, [null, other]];
  };
  let proven = 0, rest = 0;
  for (const member of page.members) {
    const element = document.querySelector(`[data-member="${CSS.escape(member.member)}"]`);
    try { answers.set(member.member, await check(member)); } catch (error) {
      answers.set(member.member, error);
    }
    proven += element !== null && await mark(element, () => {
      const found = answers.get(member.member);
      if (found instanceof Error) throw found;
      return row(element, found.map(([, figures]) => figures));
    });
  }
  const every = [...answers.values()].filter((found) => !(found instanceof Error)).flat();
  const name = (key) =>
    JSON.stringify(key === null ? null : key.map((it) => (it === null ? null : it.text)));
  const wholes = [...document.querySelectorAll("[data-total], [data-group]")];
  for (const element of wholes) {
    const group = element.dataset.group;
    const parts = every.filter(([key]) => group === undefined || name(key) === group);
    rest += await mark(element, () => row(element, parts.map(([, figures]) => figures)));
  }
  const all = proven === page.members.length && rest === wholes.length;
  verdict.textContent = `${proven} of ${page.members.length} members verified; ` +
    `${rest} of ${wholes.length} sums recomputed`;
  verdict.classList.add(all ? "proven" : "broken");
})().catch((error) => {
  const verdict = document.getElementById("verdict");
  verdict.textContent = `This page could not be checked: ${error.message}`;
  verdict.classList.add("broken");
});
