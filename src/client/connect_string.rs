//! `host:port,host:port/chroot`

use super::Error;

/// The port of a server that is given without one.
const DEFAULT_PORT: u16 = 2181;

/// Where to find the ensemble, and which part of its tree to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ConnectString {
    /// `host:port` each, as the resolver takes them
    pub servers: Vec<String>,
    /// what stands before every path; empty for the whole tree
    pub chroot: String,
}

impl ConnectString {
    /// Takes apart what a user wrote.
    pub fn parse(text: &str) -> Result<ConnectString, Error> {
        let error = |reason| Error::ConnectString { text: text.to_owned(), reason };
        let (servers, chroot) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let servers = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(|server| with_port(server).ok_or(error("a server is host, host:port or [ipv6]:port")))
            .collect::<Result<Vec<_>, Error>>()?;
        if servers.is_empty() {
            return Err(error("it names no server"));
        }
        let chroot = chroot.trim_end_matches('/');
        if chroot.contains("//") {
            return Err(error("the path after the servers has an empty part"));
        }
        Ok(ConnectString { servers, chroot: chroot.to_owned() })
    }
}

/// `server` with a port; `None` if it is not a server.
fn with_port(server: &str) -> Option<String> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (format!("[{host}]"), port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => match server.split_once(':') {
            Some((_, "")) => return None,
            Some((host, port)) => (host.to_owned(), port),
            None => (server.to_owned(), ""),
        },
    };
    let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().ok()? };
    (!host.is_empty()).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<String>, String) {
        let ConnectString { servers, chroot } = ConnectString::parse(text).unwrap();
        (servers, chroot)
    }

    #[test]
    fn servers_get_the_default_port_and_the_path_is_the_chroot() {
        let servers =
            vec!["a:1".to_owned(), "b:2181".to_owned(), "[::1]:2181".to_owned(), "[::1]:7".to_owned()];
        assert_eq!(parsed("a:1, b,[::1],[::1]:7/x/y/"), (servers, "/x/y".to_owned()));
        assert_eq!(parsed("a:1/").1, "");
    }

    #[test]
    fn what_is_not_a_connect_string_is_refused() {
        for text in ["", "/x", "a:", "a:b", "a:70000", ":1", "[::1", "[::1]7", "a:1//x"] {
            assert!(ConnectString::parse(text).is_err(), "{text}");
        }
    }
}
