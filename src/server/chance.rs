//! Numbers that nobody can guess.

use std::fmt::Write as _;
use std::io;

use rand::TryRng as _;
use rand::rngs::SysRng;

/// Something new, of letters and digits.
pub fn nonce() -> io::Result<String> {
    let bytes: [u8; 18] = secret()?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// So many bytes.
pub fn secret<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
