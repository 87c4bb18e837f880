@0xd3b1f6a2c7e94580;

interface Node {
  null @0 ();
  one @1 () -> (node :Node);
  two @2 () -> (node :Node);
  three @3 () -> (node :Node);
  four @4 () -> (node :Node);
  five @5 () -> (node :Node);
  six @6 () -> (node :Node);
  seven @7 () -> (node :Node);
  eight @8 () -> (node :Node);
  nine @9 () -> (node :Node);
  ten @10 () -> (number :Int64);
}
