//! How much memory a target takes for its input: counted by the allocator, and bounded for each byte that came.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The most that a constant of a bound was used up by, of all inputs so far; see [`bounded`].
static RECORD: AtomicUsize = AtomicUsize::new(0);

/// The most memory that handling an input may take at once: `constant_bytes + factor` for each byte of it.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// whatever the input, bytes
    pub constant_bytes: usize,
    /// for each byte of it
    pub factor: usize,
}

/// Handles an input of so many bytes.
///
/// # Panics
/// If that took more memory at any moment than the bound allows. With `ZABRA_FUZZ_MEMORY` set, tells each time that
/// an input came nearer to it than all before.
pub fn bounded<R>(bound: Bound, input_bytes: usize, handle: impl FnOnce() -> R) -> R {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = handle();
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    let allowed = bound.constant_bytes + bound.factor * input_bytes;
    assert!(
        taken <= allowed,
        "{taken} bytes of memory for {input_bytes} of input, where {allowed} are allowed"
    );
    let above_linear = taken.saturating_sub(bound.factor * input_bytes);
    if above_linear > RECORD.fetch_max(above_linear, Relaxed)
        && std::env::var_os("ZABRA_FUZZ_MEMORY").is_some()
    {
        eprintln!(
            "memory: {taken} bytes for {input_bytes} of input, {above_linear} beyond {} a byte",
            bound.factor
        );
    }
    result
}
