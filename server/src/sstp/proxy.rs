//! PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt): the client's real address, from a balancer that is trusted to say it.
use proxy_header::{Error, ParseConfig, ProxyHeader};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header: version 2 with what balancers attach to it.
const MAX_HEADER: usize = 1024;

/// Why a header is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("the connection does not begin with a PROXY header")]
    Invalid,
    #[error("its PROXY header is longer than {MAX_HEADER} bytes")]
    TooLong,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads the header and nothing behind it: client and dialled address; `None` for a connection of the balancer's own.
pub(super) async fn read(socket: &mut TcpStream) -> Result<Option<(SocketAddr, SocketAddr)>, BadHeader> {
    let mut header = Vec::with_capacity(MAX_HEADER);
    loop {
        // The header's end is known only once it is read: byte by byte, so that the ClientHello stays in the socket.
        header.push(socket.read_u8().await?);
        match ProxyHeader::parse(&header, ParseConfig::default()) {
            Ok((parsed, _)) => {
                return Ok(parsed.proxied_address().map(|address| (address.source, address.destination)));
            }
            Err(Error::BufferTooShort) if header.len() < MAX_HEADER => {}
            Err(Error::BufferTooShort) => return Err(BadHeader::TooLong),
            Err(_) => return Err(BadHeader::Invalid),
        }
    }
}
