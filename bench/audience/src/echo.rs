//! The least that can serve an audience: the same bytes are written to one socket after the other. What clients hear of
//! it is the most they can hear of anybody.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread::JoinHandle,
};

use anyhow::Context;
use socket2::{Domain, Socket, Type};

const BACKLOG: i32 = 1_024;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// Clients that are being answered.
pub(crate) struct Opening {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<io::Result<Vec<TcpStream>>>,
}

/// Clients that hear what is written.
pub(crate) struct Echo {
    clients: Vec<TcpStream>,
}

impl Opening {
    /// Listens, and answers so many clients.
    pub(crate) fn listen(clients: usize) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener: std::net::TcpListener = socket.into();
        let address = listener.local_addr()?;
        let accepting = std::thread::spawn(move || {
            (0..clients).map(|_| listener.accept().and_then(|(client, _)| answer(client))).collect()
        });
        Ok(Self { address, accepting })
    }

    /// All of them, when they are there.
    pub(crate) fn opened(self) -> anyhow::Result<Echo> {
        let clients = self.accepting.join().ok().context("the echo has panicked")?;
        Ok(Echo { clients: clients.context("the echo cannot accept")? })
    }
}

fn answer(mut client: TcpStream) -> io::Result<TcpStream> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1_024]);
    while !request.ends_with(b"\r\n\r\n") {
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    client.set_nodelay(true)?;
    client.write_all(HEAD)?;
    Ok(client)
}

impl Echo {
    /// Writes events to everybody, in one write each.
    pub(crate) fn write(&mut self, events: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for data in events {
            bytes.extend_from_slice(b"data: ");
            bytes.extend_from_slice(data);
            bytes.extend_from_slice(b"\n\n");
        }
        self.clients.iter_mut().try_for_each(|client| client.write_all(&bytes))
    }
}
