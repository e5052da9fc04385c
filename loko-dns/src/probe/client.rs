//! The sockets of a probe.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Event, Exchange, Kind, Limits, ProbeError, Question, Step};

/// Asks `server` for `name`: over UDP, again when nothing comes, and over TCP where the reply is cut off.
pub async fn ask(server: SocketAddr, name: &str, kind: Kind, limits: Limits) -> Result<Answer, ProbeError> {
    let question = Question {
        id: random_id(),
        name: name.to_owned(),
        kind,
    };
    let (mut exchange, mut step) = Exchange::start(question, limits)?;
    let mut udp = None;
    let mut deadline = Instant::now();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let received = match &step {
            Step::Done(answer) => return Ok(answer.clone()),
            Step::Failed(error) => return Err(error.clone()),
            Step::Udp(message) => {
                deadline = Instant::now() + limits.timeout;
                match send_udp(server, message).await {
                    Ok(socket) => timeout_at(deadline, udp.insert(socket).recv(&mut buffer)).await,
                    Err(error) => Ok(Err(error)),
                }
            }
            Step::Wait => match &udp {
                Some(socket) => timeout_at(deadline, socket.recv(&mut buffer)).await,
                None => Ok(Err(io::ErrorKind::InvalidData.into())),
            },
            Step::Tcp(message) => {
                udp = None;
                deadline = Instant::now() + limits.timeout;
                timeout_at(deadline, over_tcp(server, message, &mut buffer)).await
            }
        };
        let event = match received {
            Ok(Ok(length)) => Event::Reply(&buffer[..length]),
            Ok(Err(_)) => Event::Refused,
            Err(_) => Event::Lost,
        };
        step = exchange.next(&event);
    }
}

/// A socket of its own for each attempt, connected, so that only this server is heard and its host can say that the
/// port is closed.
async fn send_udp(server: SocketAddr, message: &[u8]) -> io::Result<UdpSocket> {
    let local: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    Ok(socket)
}

async fn over_tcp(server: SocketAddr, message: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    stream.read_exact(&mut buffer[..length]).await?;
    Ok(length)
}

/// The standard library seeds its hashers from the system's random source.
fn random_id() -> u16 {
    let [high, low, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([high, low])
}
