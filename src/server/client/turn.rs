//! Requests wait for their turn while the server has as many as `request_throttle_max_requests` allows, in the order of
//! coming; and large ones have only so many bytes together (`largeRequest*`). Both are off by default, and then a connection
//! has nothing of this.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::ticket::Ticket;
use crate::admin::{Count, Metrics};
use crate::config::RequestThrottle;

/// What came in so short a time counts as come at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Of so many moments a connection knows what came when. What comes beyond them, in bits, counts as come with the last.
const ARRIVALS_MAX: usize = 256;

/// The places of a server.
#[derive(Debug)]
pub struct Turnstile {
    limits: RequestThrottle,
    places: Option<Arc<Semaphore>>,
    large_bytes: Arc<AtomicU64>,
}

/// What a request keeps until it has come to its end.
#[derive(Debug, Default)]
pub struct Held {
    place: Option<OwnedSemaphorePermit>,
    large: Option<Large>,
}

impl Held {
    /// True where nothing is limited.
    pub fn is_nothing(&self) -> bool {
        self.place.is_none() && self.large.is_none()
    }
}

/// The bytes of a large request: they count while this is kept.
#[derive(Debug)]
struct Large {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Drop for Large {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

/// What is known of the request that a connection serves next.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// the leader decides it
    pub for_leader: bool,
    /// it closes its session, which it may at any age
    pub closes: bool,
    /// the timeout of its session
    pub timeout_ms: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// it has its turn
    Goes,
    /// it has to wait
    Waits,
    /// it waited for too long, and is refused
    Throttled,
    /// it is so old that its client is not to be served any more
    Stale,
}

/// When bytes came, and how long their connection had waited by then.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// how many there were with them
    end: u64,
    at: Instant,
    waited: Duration,
}

/// The part of one connection.
#[derive(Debug)]
pub struct Turn {
    limits: RequestThrottle,
    /// for the request that is served next; `None` if any number may
    place: Option<Ticket>,
    /// when one that waits is looked at again
    stall: Option<Pin<Box<Sleep>>>,
    /// of bytes that are not served
    arrivals: VecDeque<Arrival>,
    received: u64,
    /// of the request that is served next
    came: Option<Arrival>,
    /// how long the connection waited for places
    waited: Duration,
    waits_since: Option<Instant>,
    all_large: Arc<AtomicU64>,
    large: Option<Large>,
}

impl Turnstile {
    /// All places are free.
    pub fn new(limits: RequestThrottle) -> Turnstile {
        let places =
            (limits.requests_max > 0).then(|| Arc::new(Semaphore::new(limits.requests_max as usize)));
        Turnstile { limits, places, large_bytes: Arc::default() }
    }

    /// What a connection needs; `None` if nothing is limited.
    pub fn enter(&self) -> Option<Box<Turn>> {
        let place = self.places.as_ref().map(|places| Ticket::new(Arc::clone(places)));
        (place.is_some() || self.limits.large_over.is_some()).then(|| {
            Box::new(Turn {
                limits: self.limits,
                place,
                stall: None,
                arrivals: VecDeque::new(),
                received: 0,
                came: None,
                waited: Duration::ZERO,
                waits_since: None,
                all_large: Arc::clone(&self.large_bytes),
                large: None,
            })
        })
    }
}

impl Turn {
    /// Bytes came.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        self.received += bytes as u64;
        if self.place.is_none() {
            return;
        }
        let arrival = Arrival { end: self.received, at: now, waited: self.waited_until(now) };
        let is_full = self.arrivals.len() >= ARRIVALS_MAX;
        match self.arrivals.back_mut() {
            Some(last) if now.saturating_duration_since(last.at) < AT_ONCE => last.end = arrival.end,
            Some(last) if is_full => *last = arrival,
            _ => self.arrivals.push_back(arrival),
        }
    }

    /// A request of so many bytes is served next; `unserved` bytes stand behind it. False if there are too many bytes of
    /// large ones.
    pub fn begin(&mut self, bytes: usize, unserved: usize) -> bool {
        let end = self.received - unserved as u64;
        while self.arrivals.front().is_some_and(|arrival| arrival.end < end) {
            self.arrivals.pop_front();
        }
        self.came = self.arrivals.front().copied();
        if self.limits.large_over.is_none_or(|over| bytes <= over as usize) {
            return true;
        }
        let bytes = bytes as u64;
        let large = Large { bytes, all: Arc::clone(&self.all_large) };
        let before = self.all_large.fetch_add(bytes, Relaxed);
        let fits = before + bytes <= u64::from(self.limits.large_bytes_max);
        self.large = fits.then_some(large);
        fits
    }

    /// Whether that request has its turn. To be asked again whenever [`Turn::poll`] was ready.
    pub fn judge(&mut self, asked: Asked, now: Instant, metrics: &Metrics) -> Verdict {
        let Some(place) = &mut self.place else { return Verdict::Goes };
        if is_stale(self.limits, self.came, asked, now) && self.limits.drops_stale {
            metrics.count(Count::StaleRequestDropped);
            return Verdict::Stale;
        }
        if asked.for_leader {
            if !place.has(1) {
                self.wait(now, metrics);
                return Verdict::Waits;
            }
            self.end_wait(now);
        }
        let is_too_late = self.waited() > Duration::from_millis(self.limits.wait_ms_max.into());
        match self.limits.wait_ms_max > 0 && is_too_late && !asked.closes {
            true => Verdict::Throttled,
            false => Verdict::Goes,
        }
    }

    /// The request that has its turn is sent off: what it keeps.
    pub fn take(&mut self, asked: Asked, now: Instant, metrics: &Metrics) -> Held {
        if self.place.is_some() {
            metrics.throttle_waits.add(self.waited(), 1);
            if is_stale(self.limits, self.came, asked, now) {
                metrics.count(Count::StaleRequest);
            }
        }
        Held { place: self.place.as_mut().and_then(Ticket::take), large: self.large.take() }
    }

    /// The request was answered, or sent off: nothing is kept for it here.
    pub fn end(&mut self) {
        self.large = None;
        if let Some(place) = &mut self.place {
            place.give_up();
        }
    }

    /// The connection cannot go on for now: nobody is to wait for it.
    pub fn give_up(&mut self) {
        self.end_wait(Instant::now());
        if let Some(place) = &mut self.place {
            place.give_up();
        }
    }

    /// True while a request waits for its turn.
    pub fn is_waiting(&self) -> bool {
        self.waits_since.is_some()
    }

    /// Ready when a request that waits is to be judged again.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.place.as_mut().is_some_and(|place| place.poll(context).is_ready()) {
            return Poll::Ready(());
        }
        let is_over = self.stall.as_mut().is_some_and(|stall| stall.as_mut().poll(context).is_ready());
        if is_over {
            self.stall = None;
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }

    fn wait(&mut self, now: Instant, metrics: &Metrics) {
        let begins = self.waits_since.is_none();
        self.waits_since.get_or_insert(now);
        // The pause is over when there is none any more.
        if begins || (self.stall.is_none() && self.limits.stall_ms > 0) {
            metrics.count(Count::ThrottleWait);
            let pause = Duration::from_millis(self.limits.stall_ms.into());
            self.stall = (self.limits.stall_ms > 0).then(|| Box::pin(tokio::time::sleep(pause)));
        }
    }

    fn end_wait(&mut self, now: Instant) {
        self.waited = self.waited_until(now);
        self.waits_since = None;
        self.stall = None;
    }

    fn waited_until(&self, now: Instant) -> Duration {
        self.waited + self.waits_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How long the connection waited for places since the request came.
    fn waited(&self) -> Duration {
        self.waited.saturating_sub(self.came.map_or(self.waited, |came| came.waited))
    }
}

fn is_stale(limits: RequestThrottle, came: Option<Arrival>, asked: Asked, now: Instant) -> bool {
    let timeout = Duration::from_millis(asked.timeout_ms.into());
    limits.ages && !asked.closes && came.is_some_and(|came| now.saturating_duration_since(came.at) > timeout)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const WRITE: Asked = Asked { for_leader: true, closes: false, timeout_ms: 1000 };
    const READ: Asked = Asked { for_leader: false, ..WRITE };
    const CLOSE: Asked = Asked { closes: true, ..WRITE };

    fn limits() -> RequestThrottle {
        RequestThrottle { requests_max: 1, stall_ms: 0, ..RequestThrottle::default() }
    }

    /// One client's part, and a clock.
    struct Client {
        turn: Box<Turn>,
        metrics: Metrics,
        start: Instant,
    }

    impl Client {
        fn new(turnstile: &Turnstile) -> Client {
            let turn = turnstile.enter().expect("something is limited");
            Client { turn, metrics: Metrics::default(), start: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// Requests of ten bytes come, and the first of them is served next.
        fn come(&mut self, requests: usize, ms: u64) {
            self.turn.received(requests * 10, self.at(ms));
            assert!(self.turn.begin(10, (requests - 1) * 10));
        }

        fn judge(&mut self, asked: Asked, ms: u64) -> Verdict {
            let now = self.at(ms);
            self.turn.judge(asked, now, &self.metrics)
        }

        fn take(&mut self, ms: u64) -> Held {
            let now = self.at(ms);
            self.turn.take(WRITE, now, &self.metrics)
        }

        fn told(&self, line: &str) -> bool {
            let mut text = String::new();
            self.metrics.write(&mut text);
            text.contains(line)
        }

        fn is_ready(&mut self) -> bool {
            self.turn.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        }
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_limited() {
        assert!(Turnstile::new(RequestThrottle::default()).enter().is_none());
    }

    #[test]
    fn those_beyond_the_limit_wait_in_the_order_of_coming() {
        let turnstile = Turnstile::new(limits());
        let [mut one, mut two, mut three] = [(); 3].map(|()| Client::new(&turnstile));
        for client in [&mut one, &mut two, &mut three] {
            client.come(1, 0);
        }
        assert_eq!(one.judge(WRITE, 0), Verdict::Goes);
        let held = one.take(0);
        assert_eq!((two.judge(WRITE, 0), three.judge(WRITE, 0)), (Verdict::Waits, Verdict::Waits));
        assert!(!two.is_ready() && !three.is_ready() && two.turn.is_waiting());
        drop(held);
        assert!(!three.is_ready() && two.is_ready());
        assert_eq!(two.judge(WRITE, 30), Verdict::Goes);
        assert!(!two.turn.is_waiting());
        let held = two.take(30);
        assert!(two.told("zk_max_request_throttle_queue_time_ms\t30\n"));
        assert!(two.told("zk_request_throttle_wait_count\t1\n"));
        three.turn.give_up();
        drop(held);
        one.come(1, 40);
        assert_eq!(one.judge(WRITE, 40), Verdict::Goes, "who cannot go on holds up nobody");
    }

    #[test]
    fn who_waited_for_too_long_is_refused_and_so_is_what_stood_behind_it() {
        let turnstile = Turnstile::new(RequestThrottle { wait_ms_max: 100, ..limits() });
        let [mut one, mut two] = [(); 2].map(|()| Client::new(&turnstile));
        one.come(1, 0);
        assert_eq!(one.judge(WRITE, 500), Verdict::Goes, "it did not wait for its turn");
        let held = one.take(500);
        two.come(3, 0);
        assert_eq!(two.judge(WRITE, 0), Verdict::Waits);
        two.turn.received(10, two.at(60));
        drop(held);
        assert!(two.is_ready());
        assert_eq!(two.judge(WRITE, 101), Verdict::Throttled);
        two.turn.end();
        assert!(two.turn.begin(10, 20));
        assert_eq!(two.judge(READ, 101), Verdict::Throttled);
        assert!(two.turn.begin(10, 10));
        assert_eq!(two.judge(CLOSE, 101), Verdict::Goes, "a session can always be closed");
        two.turn.end();
        assert!(two.turn.begin(10, 0));
        assert_eq!(two.judge(WRITE, 101), Verdict::Goes, "it came later");
        drop(two);
        assert_eq!(one.judge(WRITE, 102), Verdict::Goes, "nobody has the place");
    }

    #[test]
    fn what_comes_in_bits_takes_no_memory_for_each_of_them() {
        let turnstile = Turnstile::new(limits());
        let mut client = Client::new(&turnstile);
        for ms in 0..100_000 {
            client.turn.received(1, client.at(ms));
        }
        assert_eq!(client.turn.arrivals.len(), ARRIVALS_MAX);
        assert!(client.turn.begin(100_000, 0));
        assert_eq!(client.turn.came.map(|came| came.at), Some(client.at(99_999)));
        assert!(client.turn.begin(0, 99_990));
    }

    #[test]
    fn what_is_older_than_the_timeout_of_its_session_is_dropped_if_that_is_asked_for() {
        for (ages, drops_stale) in [(true, true), (true, false), (false, true)] {
            let turnstile = Turnstile::new(RequestThrottle { ages, drops_stale, ..limits() });
            let mut client = Client::new(&turnstile);
            client.come(1, 0);
            assert_eq!(client.judge(WRITE, 1000), Verdict::Goes);
            let is_dropped = ages && drops_stale;
            assert_eq!(client.judge(CLOSE, 1001), Verdict::Goes);
            assert_eq!(client.judge(WRITE, 1001) == Verdict::Stale, is_dropped);
            assert_eq!(client.told("zk_stale_requests_dropped\t1\n"), is_dropped);
            client.take(1001);
            assert_eq!(client.told("zk_stale_requests\t1\n"), ages);
        }
    }

    #[tokio::test]
    async fn one_that_waits_is_looked_at_again_after_the_pause() {
        let turnstile = Turnstile::new(RequestThrottle { stall_ms: 1, ..limits() });
        let [mut one, mut two] = [(); 2].map(|()| Client::new(&turnstile));
        one.come(1, 0);
        assert_eq!(one.judge(WRITE, 0), Verdict::Goes);
        let _held = one.take(0);
        two.come(1, 0);
        for times in 1..=3 {
            assert_eq!(two.judge(WRITE, times), Verdict::Waits);
            assert_eq!(two.judge(WRITE, times), Verdict::Waits, "woken for something else");
            assert!(two.told(&format!("zk_request_throttle_wait_count\t{times}\n")));
            std::future::poll_fn(|context| two.turn.poll(context)).await;
        }
    }

    #[test]
    fn large_requests_share_their_bytes_until_their_end() {
        let limits =
            RequestThrottle { large_over: Some(10), large_bytes_max: 50, ..RequestThrottle::default() };
        let turnstile = Turnstile::new(limits);
        let [mut one, mut two] = [(); 2].map(|()| Client::new(&turnstile));
        let begin = |client: &mut Client, bytes| {
            client.turn.received(bytes, client.start);
            client.turn.begin(bytes, 0)
        };
        assert!(begin(&mut one, 30));
        let held = one.take(0);
        assert!(begin(&mut two, 10), "it is not large");
        assert!(!begin(&mut two, 21) && begin(&mut two, 20));
        assert!(!begin(&mut one, 11));
        drop(held);
        assert!(begin(&mut one, 30));
        two.turn.end();
        assert!(!begin(&mut two, 51) && begin(&mut two, 20));
    }
}
