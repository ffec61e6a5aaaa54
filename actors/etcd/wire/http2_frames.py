"""The words of HTTP/2 (RFC 9113): frame types, flags, settings, error codes, and the limits that this side keeps."""

from enum import IntEnum
from struct import Struct as Layout
from typing import Final

from msgspec import Struct

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER: Final = Layout(">IBI")  # length << 8 | type, flags, stream id
FRAME_HEADER_BYTES: Final = 9
WINDOW_BYTES_MAX: Final = (1 << 31) - 1
DEFAULT_WINDOW_BYTES: Final = 65_535
DEFAULT_FRAME_BYTES_MAX: Final = 16_384
UINT32: Final = Layout(">I")
SETTING: Final = Layout(">HI")

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Http2Limits(Struct, frozen=True):
    """What one connection may ask of the server.

    idle_frames_*: frames that do no work (pings, settings, resets, empty data, priorities) may come in a burst of so
    many, and then at that rate; more is a flood. Window updates are not counted: grpc's C core sends one a response.
    held_bytes_max: of requests that are not complete; queued_bytes_max: of answers that the client does not take.
    """

    concurrent_streams_max: int = 10_000
    header_list_bytes_max: int = 65_536
    stream_window_bytes: int = 262_144
    connection_window_bytes: int = 1_048_576
    held_bytes_max: int = 67_108_864
    queued_bytes_max: int = 268_435_456
    unread_bytes_max: int = 1_048_576
    idle_frames_burst: int = 10_000
    idle_frames_per_second: int = 1_000
    handshake_seconds: float = 10.0
    goodbye_seconds: float = 2.0


class ConnectionFailure(Exception):
    """The peer broke the protocol: GOAWAY with `code`, and the end of the connection."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFailure(Exception):
    """The peer broke the rules of one stream: RST_STREAM with `code`."""

    def __init__(self, stream_id: int, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.stream_id = stream_id
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings_payload(settings: dict[int, int]) -> bytes:
    return b"".join(SETTING.pack(name, value) for name, value in settings.items())


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a SETTINGS frame, in their order. Raises ConnectionFailure for values out of range (6.5.2)."""
    if len(payload) % 6:
        raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    settings = [(name, value) for name, value in SETTING.iter_unpack(payload)]
    for name, value in settings:
        if name == SETTINGS_ENABLE_PUSH and value > 1:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}")
        if name == SETTINGS_INITIAL_WINDOW_SIZE and value > WINDOW_BYTES_MAX:
            raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}")
        if name == SETTINGS_MAX_FRAME_SIZE and not DEFAULT_FRAME_BYTES_MAX <= value < 1 << 24:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}")
    return settings


def without_padding(payload: bytes) -> bytes:
    """The content of a padded DATA or HEADERS frame."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def without_priority(stream_id: int, payload: bytes) -> bytes:
    """The header block of a HEADERS frame that begins with the (deprecated) priority fields."""
    if len(payload) < 5:
        raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority fields")
    if UINT32.unpack_from(payload)[0] & WINDOW_BYTES_MAX == stream_id:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")
    return payload[5:]
