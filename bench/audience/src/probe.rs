//! One who is no part of the audience: asks for something small at fixed times, and notes how long it waits.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    sync::atomic::Ordering,
    time::Duration,
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;

use crate::crowd::{Progress, times};

const EACH: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until the run is over. Gives nanoseconds from when each request was due to the end of its answer.
pub(crate) fn ask(
    server: SocketAddr,
    path: &str,
    progress: &Arc<Progress>,
) -> anyhow::Result<Histogram<u64>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let mut socket = connect(server)?;
    let (mut waits, mut due) = (times()?, progress.clock.nanos());
    let mut buffer = vec![0; 64 << 10];
    while !progress.over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(progress.clock.nanos())));
        socket.write_all(request.as_bytes()).ok(); // else there is no answer
        // No answer at all is a wait as long as our patience.
        if !answered(&mut socket, &mut buffer).unwrap_or(false) {
            socket = connect(server)?;
        }
        waits.saturating_record(progress.clock.nanos().saturating_sub(due));
        due += u64::try_from(EACH.as_nanos())?;
    }
    Ok(waits)
}

fn connect(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(server).context("the probe cannot connect")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Reads an answer, of whatever status. False if the server says that it was the connection's last.
fn answered(socket: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<bool> {
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]).context("the probe was not answered")? {
            0 => bail!("the probe's connection was closed"),
            count => filled += count,
        }
        let text = String::from_utf8_lossy(&buffer[..filled]).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        if body.len() >= length {
            return Ok(!head.contains("connection: close"));
        }
    }
}
