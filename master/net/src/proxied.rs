//! The header of the PROXY protocol, versions 1 and 2, with which a proxy tells whose connection it passes on
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How long the header may take. A proxy sends it before anything else; the protocol asks for three seconds at least.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the binary form begins with.
const BINARY: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What the form of text begins with.
const TEXT: &[u8] = b"PROXY ";
/// The longest line of the form of text, by the protocol.
const MAX_LINE: usize = 107;
/// The longest rest of the binary form: addresses, and what a proxy adds to them. The protocol allows 64 kB, proxies send
/// hundreds of bytes. A longer one ends the connection.
const MAX_REST: usize = 4 << 10;

/// Reads a header and not a byte more. Answers who is behind the proxy, or `None` where the proxy speaks for itself, as
/// its checks do, or doesn't know.
pub(crate) async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    match tokio::time::timeout(PATIENCE, read(stream)).await {
        Ok(read) => read,
        Err(_) => Err(invalid("no header of the PROXY protocol came in time")),
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // No header is shorter.
    let mut head = [0; BINARY.len()];
    stream.read_exact(&mut head).await?;
    if head == *BINARY {
        return binary(stream).await;
    }
    if !head.starts_with(TEXT) {
        return Err(invalid(
            "it does not begin with a header of the PROXY protocol; only a proxy that sends one (send-proxy) may connect here",
        ));
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(invalid("the header of the PROXY protocol is too long"));
        }
        // What follows the line is not ours.
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - b"\r\n".len());
    text(&line).ok_or_else(|| invalid("the header of the PROXY protocol has no addresses"))
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
fn text(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    match *words.as_slice() {
        // Whatever follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, port, to] => {
            let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
            let (port, _): (u16, u16) = (number(port)?, number(to)?);
            let is_so = |ip: IpAddr| ip.is_ipv4() == (family == "TCP4");
            (is_so(source) && is_so(destination)).then(|| Some(SocketAddr::new(source, port)))
        }
        _ => None,
    }
}

/// Without a sign, which `parse` would take.
fn number(word: &str) -> Option<u16> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

async fn binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let (version, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_REST {
        return Err(invalid("the header of the PROXY protocol is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    let short = || invalid("the header of the PROXY protocol has no addresses");
    match (version, family) {
        // LOCAL: its own connection.
        (0x20, _) => Ok(None),
        // TCP over IPv4: two addresses, two ports.
        (0x21, 0x11) => {
            let (ip, port) = (first::<4>(&rest, 0), first::<2>(&rest, 8));
            let (ip, port) = ip.zip(port).filter(|_| length >= 12).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(ip).into(), u16::from_be_bytes(port))))
        }
        (0x21, 0x21) => {
            let (ip, port) = (first::<16>(&rest, 0), first::<2>(&rest, 32));
            let (ip, port) = ip.zip(port).filter(|_| length >= 36).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes(port))))
        }
        // Unspecified, datagrams, sockets of files: the receiver goes on without an address.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Ok(None),
        _ => Err(invalid("the header of the PROXY protocol is of a version or a family that is not known")),
    }
}

fn first<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What a header tells, and what is left of the stream.
    async fn told(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), String> {
        let mut stream = bytes;
        let peer = header(&mut stream).await.map_err(|error| error.to_string())?;
        Ok((peer.map(|peer| peer.to_string()), stream.to_vec()))
    }

    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&BINARY[..], &[version, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn headers_of_both_versions_name_the_peer_and_leave_the_rest() {
        let v4 = [[192, 0, 2, 7, 10, 0, 0, 1].as_slice(), &[0x1F, 0x90, 0, 80]].concat();
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0, 9, 0, 80]].concat();
        let with_more = [&v4[..], &[4, 0, 2, 1, 1]].concat();
        let cases: [(Vec<u8>, Option<&str>); 11] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), Some("192.0.2.7:8080")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), Some("[2001:db8::7]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.7:8080")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.7:8080")),
            (v2(0x21, 0x21, &v6), Some("[::1]:9")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0x00, &[0; 7]), None),
        ];
        for (bytes, peer) in cases {
            let (named, left) = told(&[&bytes[..], b"GET /"].concat()).await.unwrap();
            assert_eq!((named.as_deref(), left.as_slice()), (peer, &b"GET /"[..]), "{bytes:?}");
            for cut in 0..bytes.len() {
                told(&bytes[..cut]).await.unwrap_err();
            }
        }
    }

    #[tokio::test]
    async fn whatever_else_comes_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 4096]].concat();
        let hostile: [Vec<u8>; 17] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY\r\n\r\n\r\n\r\n\r\n".to_vec(),
            b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n".to_vec(),
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 2\r\n".to_vec(),
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n".to_vec(),
            long,
            v2(0x21, 0x11, &[1, 2, 3]),
            v2(0x31, 0x11, &[0; 12]),
            v2(0x21, 0x99, &[0; 12]),
            v2(0x21, 0x11, &[0; MAX_REST + 1]),
        ];
        for bytes in hostile {
            let error = told(&bytes).await.unwrap_err();
            assert!(error.contains("PROXY"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_is_not_waited_for() {
        for begun in [&b""[..], b"PROXY TCP4 1.2", &BINARY[..], &v2(0x21, 0x11, &[0; 12])[..20]] {
            let (mut here, mut there) = tokio::io::duplex(64);
            there.write_all(begun).await.unwrap();
            let error = header(&mut here).await.unwrap_err().to_string();
            assert!(error.contains("in time"), "{error}");
        }
    }
}
