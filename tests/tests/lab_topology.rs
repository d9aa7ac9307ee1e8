//! The lab itself, without an enforcer: what the other lab tests rely on. Wants to be root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use enforcer_tests::lab::{Lab, Plan};
use enforcer_tests::packet::packet;

const SECOND: Duration = Duration::from_secs(1);

fn lab() -> Result<Lab> {
    Plan::new()
        .device("pump", 110, [0, 0x1e, 0x3d, 0, 1, 1], "10.10.110.21/24")
        .device("pump-2", 110, [0, 0x1e, 0x3d, 0, 1, 2], "10.10.110.22/24")
        .device("server", 205, [0x02, 0, 0, 2, 5, 10], "10.20.5.10/24")
        .build()
}

#[test]
fn kernel_tcp_crosses_the_router_both_ways() -> Result<()> {
    let lab = lab()?;
    let server = SocketAddr::from((lab.device("server").address, 2575));
    let listener = lab.inside("server").enter(|| TcpListener::bind(server))?;
    let echo = thread::spawn(move || -> Result<SocketAddr> {
        let (mut stream, peer) = listener.accept()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        stream.write_all(&text)?;
        Ok(peer)
    });
    let text: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let mut stream = lab
        .inside("pump")
        .enter(|| TcpStream::connect_timeout(&server, SECOND))?;
    stream.set_read_timeout(Some(SECOND))?;
    stream.write_all(&text)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    assert_eq!(back, text);
    let peer = echo.join().expect("the echo thread does not panic")?;
    assert_eq!(peer.ip(), Ipv4Addr::new(10, 10, 110, 21));
    Ok(())
}

#[test]
fn neighbours_in_a_vlan_talk_without_the_gateway() -> Result<()> {
    let lab = lab()?;
    let behind = lab.behind_the_gateway()?;
    let bind = |device: &str| {
        lab.inside(device)
            .enter(|| UdpSocket::bind((lab.device(device).address, 5000)))
    };
    let (one, two) = (bind("pump")?, bind("pump-2")?);
    two.set_read_timeout(Some(SECOND))?;
    one.send_to(b"hello", two.local_addr()?)?;
    let mut text = [0; 8];
    let (length, from) = two.recv_from(&mut text)?;
    assert_eq!((&text[..length], from), (&b"hello"[..], one.local_addr()?));
    let seen = behind.wait_for(Duration::from_millis(50), |frame| frame.ends_with(b"hello"))?;
    assert_eq!(seen, None, "the switch keeps it");
    Ok(())
}

#[test]
fn sockets_show_frames_with_their_tags() -> Result<()> {
    let lab = lab()?;
    let (front, behind) = (lab.in_front_of_the_gateway()?, lab.behind_the_gateway()?);
    for frame in [
        packet().ip("10.10.110.21", "10.20.5.10").udp(1, 2).payload(b"untagged"),
        packet()
            .vlan(110)
            .ip("10.10.110.21", "10.20.5.10")
            .udp(1, 2)
            .payload(b"tagged"),
        packet()
            .tag(0x8100, 0xe06e)
            .ip("10.10.110.21", "10.20.5.10")
            .udp(1, 2)
            .payload(b"priority"),
        packet()
            .service_vlan(300)
            .vlan(110)
            .ip("10.10.110.21", "10.20.5.10")
            .udp(1, 2)
            .payload(b"two tags"),
        packet()
            .vlan(1)
            .vlan(2)
            .vlan(3)
            .ethertype(0x88cc)
            .payload(b"three tags"),
    ] {
        let frame = frame.build();
        front.send(&frame)?;
        let seen = behind.wait_for(SECOND, |seen| seen == &*frame)?;
        assert!(
            seen.is_some(),
            "{} was changed or lost",
            String::from_utf8_lossy(&frame[frame.payload..])
        );
    }
    assert_eq!(behind.lost()?, 0);
    Ok(())
}

#[test]
fn what_a_process_pins_is_gone_with_its_lab() -> Result<()> {
    let lab = lab()?;
    let made = lab
        .gateway()
        .command("mkdir")
        .args(["/sys/fs/bpf/here", "/run/here"])
        .status()?;
    assert!(made.success());
    assert!(
        lab.gateway()
            .enter(|| std::path::Path::new("/sys/class/net/trunk").exists())
    );
    let other = Plan::new().build()?;
    assert!(
        !other
            .gateway()
            .enter(|| std::path::Path::new("/sys/fs/bpf/here").exists())
    );
    assert!(!std::path::Path::new("/run/here").exists());
    Ok(())
}
