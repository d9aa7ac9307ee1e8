//! Waveforms of a patient monitor: numbered datagrams in the manner of the IntelliVue data export protocol.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// A datagram with a quarter of a second of an electrocardiogram; `number` is the invoke id.
pub fn waveform(number: u16) -> Vec<u8> {
    let samples: Vec<u8> = (0..64_u16)
        .flat_map(|sample| beat(number.wrapping_mul(64).wrapping_add(sample)).to_be_bytes())
        .collect();
    let observation = [&[0xf1, 0x3b, 0, 0], &(samples.len() as u16).to_be_bytes()[..], &samples].concat();
    let result = [
        &number.to_be_bytes()[..],
        &[0, 7],
        &(observation.len() as u16).to_be_bytes(),
        &observation,
    ]
    .concat();
    // Session header, then a remote operation result.
    [
        &[0xe1, 0, 0, 2, 0, 2],
        &(result.len() as u16).to_be_bytes()[..],
        &result,
    ]
    .concat()
}

/// A crude heart: a spike once in 200 samples.
fn beat(sample: u16) -> u16 {
    match sample % 200 {
        40 => 4095,
        41 => 1024,
        phase => 2048 + phase % 32,
    }
}

/// Lets the two find each other, as they do when a monitor is switched on: stacks hold back datagrams to a neighbour that they do
/// not know yet, and throw them away when it takes long to answer. Whether one arrived within so many tries.
pub fn associate(from: &UdpSocket, to: &UdpSocket, tries: u16, pause: Duration) -> io::Result<bool> {
    let mut datagram = [0; 2048];
    to.set_read_timeout(Some(pause))?;
    for number in 0..tries {
        from.send_to(&waveform(number), to.local_addr()?)?;
        match to.recv(&mut datagram) {
            Ok(_) => {
                // What else was held back.
                while to.recv(&mut datagram).is_ok() {}
                return Ok(true);
            }
            Err(error) if is_over(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The time to wait is over.
fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends so many datagrams to a central station, one a millisecond: a stack that has to find a neighbour first holds
/// back only a few.
pub fn send(socket: &UdpSocket, to: SocketAddr, count: u16) -> io::Result<()> {
    (0..count).try_for_each(|number| {
        thread::sleep(Duration::from_millis(1));
        socket.send_to(&waveform(number), to).map(|_| ())
    })
}

/// How many of so many datagrams arrive within the time, each the one that is due.
pub fn receive(socket: &UdpSocket, count: u16, limit: Duration) -> io::Result<u16> {
    let end = Instant::now() + limit;
    let mut datagram = [0; 2048];
    for number in 0..count {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(number);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut datagram) {
            Ok(length) if datagram[..length] == waveform(number) => {}
            Ok(_) => return Ok(number),
            Err(error) if is_over(&error) => return Ok(number),
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_the_datagrams_that_find_the_way() -> io::Result<()> {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        assert!(associate(&from, &to, 3, Duration::from_millis(50))?);
        send(&from, to.local_addr()?, 3)?;
        assert_eq!(receive(&to, 3, Duration::from_secs(1))?, 3);
        Ok(())
    }

    #[test]
    fn a_missing_datagram_is_noticed() -> io::Result<()> {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        send(&from, to.local_addr()?, 3)?;
        assert_eq!(receive(&to, 3, Duration::from_secs(1))?, 3);
        from.send_to(&waveform(0), to.local_addr()?)?;
        from.send_to(&waveform(2), to.local_addr()?)?;
        assert_eq!(receive(&to, 3, Duration::from_millis(50))?, 1);
        Ok(())
    }
}
