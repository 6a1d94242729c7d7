//! The client protocol: what travels between a ZooKeeper client and a server, as types and bytes. Pure.
//!
//! A connection carries frames ([`frame()`]): a length of four bytes, then that many bytes. The first frame each way is
//! a [`ConnectRequest`] and its [`ConnectResponse`]; every later one is a [`RequestHeader`] and a [`Request`], or a
//! [`ReplyHeader`] and a [`Response`] or [`WatchEvent`]. The layout of each record is that of ZooKeeper's
//! `zookeeper.jute`: big-endian numbers, text and buffers behind a length of four bytes, in the order of the fields.
//!
//! Decoders are plain functions over bytes: they never panic, and what they allocate is bounded by what they are given.

#[macro_use]
mod wire_enum;

mod acl;
mod connect;
mod error_code;
mod event;
mod frame;
mod keeper;
mod multi;
mod op_code;
mod reader;
mod reply;
mod request;
mod response;
mod stat;
mod writer;

#[cfg(test)]
mod tests;

pub use acl::{Acl, AuthId, perms};
pub use connect::{
    ConnectRequest, ConnectResponse, PASSWORD_BYTES, decode_connect_request, decode_connect_response,
    encode_connect_request, encode_connect_response,
};
pub use error_code::ErrorCode;
pub use event::{EventKind, WatchEvent, decode_event, encode_event, lineage};
pub use frame::{FrameError, frame, next_frame};
pub use keeper::{KeeperOp, ListFilter};
pub use multi::{MultiOp, MultiResult, ReadOp, ReadResult};
pub use op_code::{AddWatchMode, CreateMode, OpCode, WatcherType, xid};
pub use reader::{DecodeError, Reader};
pub use reply::{
    ReplyHeader, encode_acl_reply, encode_children_reply, encode_data_reply, encode_empty_reply,
    encode_error_reply, encode_reply, encode_sasl_reply, encode_stat_reply,
};
pub use request::{
    Create, CreateOp, Reconfig, Request, RequestHeader, SetWatches, decode_request, encode_request,
    encode_request_frame,
};
pub use response::{Response, decode_response, encode_response};
pub use stat::Stat;
