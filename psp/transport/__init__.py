"""Bytes between two paired machines: keys, certificates, TLS, and who owns an unfinished write."""

from ._certificate import Peer as Peer
from ._certificate import PeerCertificate as PeerCertificate
from ._certificate import Pin as Pin
from ._certificate import check_certificate_untrusted as check_certificate_untrusted
from ._contexts import ALPN as ALPN
from ._contexts import listener_context as listener_context
from ._contexts import server_name as server_name
from ._flush import flusher as flusher
from ._handshake import Refused as Refused
from ._handshake import accept_peer as accept_peer
from ._handshake import dial_peer as dial_peer
from ._handshake import explain_refusal as explain_refusal
from ._limits import CONNECTIONS_PER_PEER_MAX as CONNECTIONS_PER_PEER_MAX
from ._limits import HANDSHAKE_S_MAX as HANDSHAKE_S_MAX
from ._limits import HANDSHAKES_MAX as HANDSHAKES_MAX
from ._limits import UNSENT_BYTES_MAX as UNSENT_BYTES_MAX
from ._machine_key import MachineKey as MachineKey
from ._machine_key import PassphraseSource as PassphraseSource
from ._machine_key import describe_key_file as describe_key_file
from ._pump import Sender as Sender
from ._pump import Tap as Tap
from ._sealed_key import Passphrase as Passphrase
from ._stream import TlsStream as TlsStream
from ._stream import receive_buffer as receive_buffer
