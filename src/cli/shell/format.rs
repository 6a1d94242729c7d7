//! How znodes are shown, and how access control lists are written, as in ZooKeeper's own shell.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Told;
use super::command::Shown;
use crate::cli::civil;
use crate::client::{SessionEvent, SessionState};
use crate::jute::{Acl, AuthId, Stat, WatchEvent, WatcherType, perms};

/// The letters of the permissions, in the order in which they are shown.
const PERMISSIONS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

/// A Stat, one field a line.
pub fn stat(stat: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\n\
         dataVersion = {}\naclVersion = {}\nephemeralOwner = {}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid.0,
        date(stat.ctime_ms),
        stat.mzxid.0,
        date(stat.mtime_ms),
        stat.pzxid.0,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// A moment in milliseconds since 1970, as `Thu Jan 01 00:00:00 UTC 1970`.
fn date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let days = seconds.div_euclid(86_400);
    let time = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[(month - 1) as usize],
        time / 3600,
        time / 60 % 60,
        time % 60,
    )
}

/// Data as it is asked for.
pub fn data(data: &[u8], shown: Shown) -> Vec<u8> {
    match shown {
        Shown::Plain => data.to_vec(),
        Shown::Base64 => STANDARD.encode(data).into_bytes(),
        Shown::Hexadecimal => hexadecimal(data).into_bytes(),
    }
}

/// Sixteen bytes a line: where they begin, each in two digits, and those that are letters.
fn hexadecimal(data: &[u8]) -> String {
    let line = |(number, bytes): (usize, &[u8])| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '.' };
        let letters: String = bytes.iter().map(letter).collect();
        format!("{:08x}  {:<47}  {letters}", number * 16, digits.join(" "))
    };
    data.chunks(16).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// The servers of a configuration as clients name them: their client addresses, from the text of `/zookeeper/config`.
pub fn client_servers(config: &str) -> String {
    let servers = config.lines().filter(|line| line.starts_with("server."));
    let address = |line: &str| {
        let (peers, client) = line.split_once('=')?.1.split_once(';')?;
        Some(match client.rsplit_once(':') {
            Some(("0.0.0.0", port)) => format!("{}:{port}", peers.split(':').next()?),
            Some(_) => client.to_owned(),
            None => format!("{}:{client}", peers.split(':').next()?),
        })
    };
    servers.filter_map(address).collect::<Vec<_>>().join(",")
}

/// The names of children in brackets.
pub fn children(names: &[String]) -> String {
    format!("[{}]\n", names.join(", "))
}

/// An access control list, two lines an entry.
pub fn acl(acl: &[Acl]) -> String {
    acl.iter()
        .map(|Acl { perms, id }| {
            let letters: String =
                PERMISSIONS.iter().filter(|(_, bit)| perms & bit != 0).map(|(letter, _)| letter).collect();
            format!("'{},'{}\n: {letters}\n", id.scheme, id.id)
        })
        .collect()
}

/// A list as it is typed: `scheme:id:permissions`, separated by commas. An id may have colons of its own.
pub fn parse_acl(text: &str) -> Result<Vec<Acl>, String> {
    text.split(',')
        .map(|entry| {
            let parts = entry.trim().split_once(':').and_then(|(scheme, rest)| {
                let (id, letters) = rest.rsplit_once(':')?;
                Some((scheme, id, letters))
            });
            let (scheme, id, letters) =
                parts.ok_or_else(|| format!("{entry:?} is not scheme:id:permissions"))?;
            let mut perms = 0;
            for letter in letters.chars() {
                let known = PERMISSIONS.iter().find(|(known, _)| *known == letter);
                perms |= known.ok_or_else(|| format!("{letter:?} is not one of the permissions cdrwa"))?.1;
            }
            Ok(Acl { perms, id: AuthId { scheme: scheme.to_owned(), id: id.to_owned() } })
        })
        .collect()
}

/// What a Java client gives as the transaction of an event that no transaction has made.
const NO_ZXID: i64 = -1;

/// What is told without having been asked for.
pub fn told(told: &Told) -> String {
    let removed = |watches: WatcherType| match watches {
        WatcherType::Data => "DataWatchRemoved",
        WatcherType::Children => "ChildWatchRemoved",
        _ => "PersistentWatchRemoved",
    };
    match told {
        Told::Watch(SessionEvent::Fired(WatchEvent { kind, path, zxid })) => {
            event("SyncConnected", &format!("{kind:?}"), path, zxid.0.cast_signed())
        }
        Told::Watch(SessionEvent::Removed { watches, path, at_server: true }) => {
            event("SyncConnected", removed(*watches), path, NO_ZXID)
        }
        Told::Watch(SessionEvent::Removed { watches, path, at_server: false }) => {
            event("Disconnected", removed(*watches), path, NO_ZXID)
        }
        Told::State(state) => event(state_name(*state), "None", "null", NO_ZXID),
    }
}

/// One as ZooKeeper's shell prints it.
fn event(state: &str, kind: &str, path: &str, zxid: i64) -> String {
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}\n")
}

/// What a Java client calls the state of a session.
fn state_name(state: SessionState) -> &'static str {
    match state {
        SessionState::Connecting => "Disconnected",
        SessionState::Connected => "SyncConnected",
        SessionState::ConnectedReadOnly => "ConnectedReadOnly",
        SessionState::Expired => "Expired",
        SessionState::AuthFailed => "AuthFailed",
        SessionState::Closed => "Closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_can_be_shown_in_hexadecimal_and_in_base64() {
        let bytes: Vec<u8> = (0x3c..0x4e).collect();
        let expected = "00000000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK\n\
                        00000010  4c 4d                                            LM";
        assert_eq!(data(&bytes, Shown::Hexadecimal), expected.as_bytes());
        assert_eq!(data(&[0, 255], Shown::Base64), b"AP8=");
        assert_eq!(data(&[0, 255], Shown::Plain), [0, 255]);
        assert_eq!(data(&[], Shown::Hexadecimal), b"");
    }

    #[test]
    fn servers_are_named_as_clients_reach_them() {
        let config = "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant;10.0.0.2:2182\n\
                      server.3=c:1:2:observer;2183\nserver.4=d:1:2:participant\nversion=0";
        assert_eq!(client_servers(config), "a:2181,10.0.0.2:2182,c:2183");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_709_251_199_999, "Thu Feb 29 23:59:59 UTC 2024"),
            (1_709_251_200_000, "Fri Mar 01 00:00:00 UTC 2024"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            assert_eq!(date(ms), expected);
        }
    }

    #[test]
    fn a_list_that_was_typed_is_shown_as_zookeeper_shows_it() {
        let list = parse_acl("world:anyone:r,digest:me:hash=:cdrwa").unwrap();
        assert_eq!(acl(&list), "'world,'anyone\n: r\n'digest,'me:hash=\n: cdrwa\n");
        assert_eq!(list[1].perms, perms::ALL);
    }

    #[test]
    fn what_is_not_a_list_is_refused_with_a_reason() {
        assert!(parse_acl("world").unwrap_err().contains("scheme:id"));
        assert!(parse_acl("world:anyone:x").unwrap_err().contains("cdrwa"));
    }
}
