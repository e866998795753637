//! Whether the front can listen where it is told to.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    time::Duration,
};

use tempest_front::FrontConfig;

use super::Finding;

/// How long somebody who listens there may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// A request that every front refuses by itself: it names no host.
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\naccept: application/problem+json\r\n\r\n";

/// A finding for each address that is listened on.
pub(super) fn judge(front: &FrontConfig) -> Vec<Finding> {
    let addresses = front.listen.iter().chain(&front.tls.listen);
    // Nobody named the usual one of the admin listener: any other does as well.
    let admin = front.admin.listen.iter().filter(|_| !front.admin.any_port);
    addresses.chain(admin).map(|address| judge_one(address)).collect()
}

fn judge_one(address: &str) -> Finding {
    let sockets = match address.to_socket_addrs() {
        Ok(sockets) => sockets,
        Err(error) => {
            let mend = "name an address of this machine, such as 0.0.0.0:1337";
            return Finding::fail("front.listen", format!("{address}: {error}"), mend);
        }
    };
    let failures = sockets.filter_map(|socket| Some((socket, TcpListener::bind(socket).err()?)));
    // A machine may have no IPv6 although `localhost` names it.
    let mut failures: Vec<_> =
        failures.filter(|(socket, error)| !(socket.is_ipv6() && is_absent(error))).collect();
    match failures.pop() {
        None => Finding::ok("front.listen", format!("{address} is free")),
        Some((socket, error)) => taken(address, socket, &error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    let no_family = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == no_family
}

fn taken(address: &str, socket: SocketAddr, error: &io::Error) -> Finding {
    let port = socket.port();
    match error.kind() {
        io::ErrorKind::AddrInUse if is_front(socket) => {
            Finding::ok("front.listen", format!("{address} is in use by a front"))
        }
        io::ErrorKind::AddrInUse => Finding::warn(
            "front.listen",
            format!("{address} is in use, and not by a front in plaintext"),
            format!(
                "if that is not yours: see who it is with ss -ltnp 'sport = :{port}', or listen elsewhere"
            ),
        ),
        io::ErrorKind::PermissionDenied => Finding::fail(
            "front.listen",
            format!("{address} is not for this user"),
            format!(
                "let systemd open it (a socket unit), or AmbientCapabilities=CAP_NET_BIND_SERVICE, or sysctl -w net.ipv4.ip_unprivileged_port_start={port}"
            ),
        ),
        _ => Finding::fail("front.listen", format!("{address}: {error}"), "name an address of this machine"),
    }
}

fn is_front(socket: SocketAddr) -> bool {
    answer(socket).is_ok_and(|answer| answer.contains("bad_http"))
}

fn answer(socket: SocketAddr) -> io::Result<String> {
    let reached = match socket {
        any if any.ip().is_unspecified() && any.is_ipv4() => SocketAddr::from(([127, 0, 0, 1], any.port())),
        other => other,
    };
    let mut stream = TcpStream::connect_timeout(&reached, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(QUESTION)?;
    let mut answer = vec![0; 4_096];
    let mut read = 0;
    while read < answer.len() {
        match stream.read(&mut answer[read..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => read += more,
        }
    }
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn an_address_is_free_taken_or_none_of_this_machine() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        std::thread::spawn(move || other.accept().map(drop));
        assert_eq!(judge_one(&address).level, Level::Warn);
        assert_eq!(judge_one("127.0.0.1:0").level, Level::Ok);
        assert_eq!(judge_one("192.0.2.1:1").level, Level::Fail);
        assert_eq!(judge_one("no-such-host.invalid:1").level, Level::Fail);
    }

    #[test]
    fn a_low_port_says_who_may_open_it() {
        let socket = SocketAddr::from(([0, 0, 0, 0], 80));
        let finding = taken("0.0.0.0:80", socket, &io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.mend.contains("CAP_NET_BIND_SERVICE"), "{finding}");
    }
}
