//! What the targets have in common: a bound on memory, scripts of what happens to a server, a server in memory, and
//! valid bytes with something done to them. `docs/fuzzing.md` tells what each target asks.

pub mod client;
pub mod ensemble;
pub mod memory;
pub mod messages;
pub mod requests;
pub mod script;
pub mod server;

/// Changes some bytes (where, and the bits to flip), and cuts off what is behind `length`.
pub fn edit(mut bytes: Vec<u8>, flips: &[(u16, u8)], length: Option<u16>) -> Vec<u8> {
    for (at, mask) in flips {
        if let Some(byte) = bytes.get_mut(usize::from(*at)) {
            *byte ^= mask;
        }
    }
    if let Some(length) = length {
        bytes.truncate(length.into());
    }
    bytes
}

/// Replaces the four bytes at `at` by the checksum of those before them, if there are so many: what the decoder finds
/// behind a checksum that fits is the more interesting part of it.
pub fn seal(bytes: &mut [u8], at: usize) {
    if let Some((content, [a, b, c, d, ..])) = bytes.split_at_mut_checked(at) {
        [*a, *b, *c, *d] = crc32fast::hash(content).to_le_bytes();
    }
}
