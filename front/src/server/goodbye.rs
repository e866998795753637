//! The end of a connection that this side ends.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long a client may take to read the last words and to close.
const GOODBYE: Duration = Duration::from_secs(1);

/// Says the last words and closes. What the client still sends is read, so that they are not lost to a reset.
pub(super) async fn say(socket: impl AsyncRead + AsyncWrite + Unpin, last: &[u8]) {
    // A client that does not take it has nothing to lose.
    timeout(GOODBYE, close(socket, last)).await.ok();
}

async fn close(mut socket: impl AsyncRead + AsyncWrite + Unpin, last: &[u8]) -> io::Result<()> {
    socket.write_all(last).await?;
    socket.shutdown().await?;
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}
