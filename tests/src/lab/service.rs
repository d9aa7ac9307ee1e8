//! Servers on devices of a lab.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};

use super::sys::readable;
use super::worker::{PATIENCE, Worker};
use super::{Device, Namespace};

/// How long a server waits for a peer that has gone quiet.
const PEER_PATIENCE: Duration = Duration::from_millis(500);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Service {
    #[expect(dead_code, reason = "held for its drop, which stops the thread")]
    worker: Worker,
}

impl Service {
    /// Serves TCP connections to a port of a device, one at a time. What a handler complains about is for its client
    /// to notice.
    ///
    /// # Panics
    /// Its thread, when the socket cannot be polled.
    pub fn tcp(
        place: (&Device, &Namespace),
        port: u16,
        handler: impl Fn(TcpStream) -> io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (device, namespace) = place;
        let address = SocketAddr::from((device.address, port));
        let listener = namespace.enter(|| TcpListener::bind(address));
        let listener = listener.with_context(|| format!("cannot listen on {address} of {}", device.name))?;
        listener.set_nonblocking(true)?;
        let serve = move || {
            readable(&[listener.as_fd()], PATIENCE).expect("polling a listener");
            if let Ok((stream, _)) = listener.accept() {
                let _ = serve_one(stream, &handler);
            }
        };
        Ok(Self {
            worker: Worker::start("server", serve)?,
        })
    }

    /// Serves datagrams to a port of a device; the handler is called when one waits.
    ///
    /// # Panics
    /// Its thread, when the socket cannot be polled.
    pub fn udp(
        place: (&Device, &Namespace),
        port: u16,
        handler: impl Fn(&UdpSocket) -> io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (device, namespace) = place;
        let address = SocketAddr::from((device.address, port));
        let socket = namespace.enter(|| UdpSocket::bind(address));
        let socket = socket.with_context(|| format!("cannot bind {address} of {}", device.name))?;
        socket.set_nonblocking(true)?;
        let serve = move || {
            if readable(&[socket.as_fd()], PATIENCE).expect("polling a socket")[0] {
                let _ = handler(&socket);
            }
        };
        Ok(Self {
            worker: Worker::start("server", serve)?,
        })
    }
}

fn serve_one(stream: TcpStream, handler: &impl Fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PEER_PATIENCE))?;
    stream.set_write_timeout(Some(PEER_PATIENCE))?;
    handler(stream)
}
