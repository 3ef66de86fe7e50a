//! Following one client: `trace`.
use crate::api::TraceQuery;
use crate::trace::LONGEST;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const TRACE: &str = "Follows one client as it happens: IKE messages with what is inside them, SSTP and PPP, RADIUS packets with Disconnect and CoA, \
DHCP and its like inside the tunnel, and the lines of the attempt's record, in one stream. Passwords, keys, MS-CHAP responses and what EAP methods carry are \
withheld. Ends with Ctrl-C, after an hour or what --for says, or, of an attempt, some seconds after it failed or its session ended.

A trace by user begins with the client's first packet as well: what came before its name was known is kept for that long, and shown then. What \
begins before there is an attempt (a COOKIE, a refused IKE_SA_INIT) belongs to an address alone: use --peer.

The capture holds datagrams of IKE, encrypted as they were, and of RADIUS, and as interfaces of their own what TLS, TCP and ESP hide: PPP frames and control packets \
of SSTP, messages of IKE over TCP, packets of RADIUS over TLS, and what the gateway answers inside the tunnel. In RADIUS and PPP passwords, keys, MS-CHAP responses, what EAP methods carry without TLS, and \
attributes that the gateway does not know are zeros, so that no authenticator of RADIUS fits. Where nat_port is not 4500, tell Wireshark by \"Decode As\" that it is UDPENCAP. Wireshark decrypts IKE with the file \
that --reveal-session-keys writes: it goes into its profile as ikev2_decryption_table. Both files have mode 0600; delete them when you are done.

The log of the gateway says that somebody traces, and whom. While nobody does it costs nothing.

Examples:
  evergate trace --user alice
  evergate trace --peer 203.0.113.7
  evergate trace --attempt 19a1b2c3d4e-17
  evergate trace --user alice --json | jq -c '{title, fields}'
  evergate trace --user alice --pcap alice.pcapng
  evergate trace --user alice --pcap alice.pcapng --reveal-session-keys alice.keys";

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true))]
pub struct TraceArgs {
    /// Whoever calls itself so, or is found to be so
    #[arg(long, value_name = "NAME", group = "whom")]
    user: Option<String>,
    /// The client at this IP address
    #[arg(long, value_name = "ADDRESS", group = "whom")]
    peer: Option<IpAddr>,
    /// One login try that is not over, by its id in `evergate attempts`
    #[arg(long, value_name = "ID", group = "whom")]
    attempt: Option<String>,
    /// Write a capture for Wireshark as well: the datagrams of IKE as they were on the wire, those of RADIUS and what was inside of tunnels with zeros for
    /// their secrets
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pcap: Option<PathBuf>,
    /// With --pcap: also write the keys of the IKE SAs, a line each, as Wireshark's ikev2_decryption_table takes them. Whoever has both files reads
    /// everything that IKE said, credentials among it
    #[arg(long, value_name = "FILE", requires = "pcap")]
    pub(in crate::cli) reveal_session_keys: Option<PathBuf>,
    /// How long at most, a day being the longest; the trace of an attempt ends with it
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = length)]
    length: Duration,
}

fn length(text: &str) -> Result<Duration, String> {
    let fits = |length: &Duration| (1..=LONGEST.as_secs()).contains(&length.as_secs());
    crate::config::duration(text).filter(fits).ok_or_else(|| "expected a duration from \"1s\" to \"24h\"".into())
}

impl TraceArgs {
    pub(in crate::cli) fn query(&self) -> TraceQuery {
        TraceQuery {
            user: self.user.clone(),
            peer: self.peer,
            attempt: self.attempt.clone(),
            packets: self.pcap.is_some(),
            session_keys: self.reveal_session_keys.is_some(),
            seconds: Some(self.length.as_secs()),
        }
    }
}
