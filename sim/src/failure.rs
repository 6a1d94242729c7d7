//! What a run failed with. Checks that fail, and assertions of the production code, are panics: whatever happens inside
//! a run ends it, and is told in the same way.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// Something that must never be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// who found it: the name of a checker, or `assertion` for one of the code under test
    pub checker: String,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.checker, self.what)
    }
}

/// A checker found that something is wrong.
pub fn fail(checker: &str, what: impl fmt::Display) -> ! {
    panic!("[{checker}] {what}")
}

impl Failure {
    fn from_panic(message: &str, place: &str) -> Failure {
        let told = message.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        match told {
            Some((checker, what)) => Failure { checker: checker.to_string(), what: what.to_string() },
            None => Failure { checker: "assertion".to_string(), what: format!("{message} ({place})") },
        }
    }
}

thread_local! {
    /// What the hook heard of the newest panic on this thread.
    static NEWEST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// From now on panics are not printed but kept, for [`catch`].
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let failure = Failure::from_panic(message_of(info.payload()), &place);
        if cfg!(panic = "abort") {
            eprintln!("{}: {}", failure.checker, failure.what);
        }
        NEWEST.with_borrow_mut(|newest| *newest = Some(failure));
    }));
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

/// Does something that may fail.
pub fn catch(act: impl FnOnce()) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
        let kept = NEWEST.with_borrow_mut(Option::take);
        kept.unwrap_or_else(|| Failure::from_panic(message_of(&*payload), "unknown place"))
    })
}
