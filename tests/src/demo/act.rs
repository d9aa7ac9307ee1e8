//! Does what a step says, and tells whether it worked.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clinical::{monitor, simple};
use crate::lab::flood::{Flood, Offered};
use crate::lab::router::GATEWAY_MAC;
use crate::lab::switch::with_tag;
use crate::lab::{Device, Lab, Namespace, PacketSocket};
use crate::packet::{Frame, packet};

use super::step::{Action, Step};

/// How long an answer may take. Whoever is refused waits that long.
const ANSWER: Duration = Duration::from_millis(300);

/// What came of a step, as those who took part saw it.
#[derive(Debug)]
pub struct Outcome {
    /// It reached its end: the exchange was complete, or nothing had to come back.
    pub worked: bool,
    /// What somebody complained about.
    pub complaint: String,
    /// What was sent as a frame, as it stands on the trunk.
    pub frames: Vec<Vec<u8>>,
    /// What was sent as a flood, and how many frames of it arrived.
    pub flood: Option<(Offered, u64)>,
}

impl Outcome {
    fn of(result: io::Result<()>) -> Self {
        let (worked, complaint) = match result {
            Ok(()) => (true, String::new()),
            Err(error) => (false, error.to_string()),
        };
        Self {
            worked,
            complaint,
            frames: Vec::new(),
            flood: None,
        }
    }

    fn sent(frames: Vec<Vec<u8>>) -> Self {
        Self {
            worked: false,
            complaint: "nobody answers frames".to_owned(),
            frames,
            flood: None,
        }
    }
}

/// Does a step. An error means that it could not be tried.
pub fn act(lab: &Lab, step: &Step) -> Result<Outcome> {
    let from = || (lab.device(step.from), lab.inside(step.from));
    let to = |port| SocketAddr::from((lab.device(step.to).address, port));
    Ok(match &step.action {
        Action::Tcp { port, talk } => Outcome::of(from().1.enter(|| connect(to(*port), ANSWER).and_then(talk))),
        Action::Waveforms { count } => Outcome::of(waveforms(lab, step, *count)?),
        Action::Resolve => Outcome::of(from().1.enter(|| resolve(to(53)))),
        Action::Ping => {
            let to = if step.to.is_empty() {
                from().0.gateway
            } else {
                lab.device(step.to).address
            };
            Outcome::of(ping(from(), to)?)
        }
        Action::Scan { ports } => {
            // All at once, so that each may take as long as an answer may. Threads stay in the namespace of the one that starts them.
            let open = from().1.enter(|| {
                thread::scope(|scope| {
                    let tries = ports
                        .clone()
                        .map(|port| scope.spawn(move || connect(to(port), ANSWER).is_ok()));
                    let tries: Vec<_> = tries.collect();
                    tries
                        .into_iter()
                        .filter_map(|one| one.join().ok())
                        .filter(|&open| open)
                        .count()
                })
            });
            Outcome::of(if open == 0 {
                Err(io::Error::other("no port is open"))
            } else {
                Ok(())
            })
        }
        Action::Frames(frames) => {
            let (device, namespace) = from();
            let socket = namespace.enter(|| PacketSocket::open("eth0"))?;
            let frames = send_all(&socket, &frames())?;
            Outcome::sent(frames.iter().map(|frame| with_tag(device.vlan, frame)).collect())
        }
        Action::Flood { rate, frame } => flood(lab, step, *rate, &frame())?,
        Action::TrunkFrames(frames) => Outcome::sent(send_all(&lab.in_front_of_the_gateway()?, &frames())?),
    })
}

fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, limit)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn waveforms(lab: &Lab, step: &Step, count: u16) -> Result<io::Result<()>> {
    const PORT: u16 = 24_105;
    let bind = |device: &str| {
        let address = (lab.device(device).address, PORT);
        lab.inside(device)
            .enter(|| UdpSocket::bind(address))
            .with_context(|| format!("cannot bind port {PORT} of {device}"))
    };
    let (from, to) = (bind(step.from)?, bind(step.to)?);
    monitor::associate(&from, &to, 20, ANSWER)?;
    monitor::send(&from, to.local_addr()?, count)?;
    let arrived = monitor::receive(&to, count, 10 * ANSWER)?;
    let missing = || io::Error::other(format!("only {arrived} of {count} datagrams arrived"));
    Ok(if arrived == count { Ok(()) } else { Err(missing()) })
}

fn resolve(server: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER))?;
    simple::resolve(&socket, 77, "pump-gateway-01.hospital.example").map(|_| ())
}

/// Sends the echo request as a frame: whoever answers is a real stack, and no `ping` needs to be installed.
fn ping(from: (&Device, &Namespace), to: Ipv4Addr) -> Result<io::Result<()>> {
    let (device, namespace) = from;
    let socket = namespace.enter(|| PacketSocket::open("eth0"))?;
    let (source, destination) = (device.address.to_string(), to.to_string());
    let request = packet()
        .macs(device.mac, GATEWAY_MAC)
        .ip(&source, &destination)
        .echo(0x4c41, 1)
        .payload(b"ping");
    socket.send(&request.build())?;
    let reply = packet()
        .ip(&destination, &source)
        .echo_reply(0x4c41, 1)
        .payload(b"ping")
        .build();
    let message = &reply[reply.transport..];
    let is_reply = |frame: &[u8]| frame.len() > 34 && frame[26..30] == to.octets() && frame[34..].starts_with(message);
    let answer = socket.wait_for(ANSWER, is_reply)?;
    Ok(answer.map(|_| ()).ok_or_else(|| io::Error::other("no reply")))
}

/// Floods for a second, and counts at the receiver what reaches its interface.
fn flood(lab: &Lab, step: &Step, rate: u32, frame: &Frame) -> Result<Outcome> {
    const SECOND: Duration = Duration::from_secs(1);
    let socket = |device: &str| lab.inside(device).enter(|| PacketSocket::open("eth0"));
    let (from, to) = (socket(step.from)?, socket(step.to)?);
    let sent = frame.bytes.clone();
    let flood = Flood::start(from, rate, move |_| sent.clone());
    std::thread::sleep(SECOND);
    let offered = flood.stop()?;
    let message = &frame[frame.transport..];
    let mut arrived = 0;
    while to.wait_for(ANSWER, |seen| seen.ends_with(message))?.is_some() {
        arrived += 1;
    }
    let (worked, complaint) = (
        2 * arrived > offered.frames(),
        format!("{arrived} of {} frames arrived", offered.frames()),
    );
    Ok(Outcome {
        worked,
        complaint,
        frames: Vec::new(),
        flood: Some((offered, arrived)),
    })
}

fn send_all(socket: &PacketSocket, frames: &[Frame]) -> Result<Vec<Vec<u8>>> {
    let send = |frame: &Frame| {
        socket
            .send(frame)
            .map(|()| frame.bytes.clone())
            .context("cannot send a frame")
    };
    frames.iter().map(send).collect()
}
