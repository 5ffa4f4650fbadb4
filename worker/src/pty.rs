//! A pseudo-terminal pair, whose master side is read asynchronously.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;

/// The master side: what the programs on the terminal write is read here.
#[derive(Debug)]
pub(crate) struct PtyMaster(pipe::Receiver);

/// Opens a pair; the slave is meant for the child's standard streams and must be dropped once the child has it,
/// otherwise the master never sees the end.
pub(crate) fn open_pty() -> io::Result<(PtyMaster, File)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave =
        rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::ioctl_fionbio(&master, true)?;
    // To the runtime a terminal's master side is read like a pipe.
    let master = pipe::Receiver::from_owned_fd_unchecked(master)?;
    Ok((PtyMaster(master), File::from(slave)))
}

impl AsyncRead for PtyMaster {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buf)) {
            // Linux reports that the last slave is closed as an error.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Poll::Ready(Ok(()))
            }
            read => Poll::Ready(read),
        }
    }
}
