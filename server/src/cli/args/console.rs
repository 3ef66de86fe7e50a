//! The web console for a browser of this host: `console`.
use clap::Args;

pub(super) const CONSOLE: &str =
    "Serves the web console to a browser on this host, for whoever may talk to the control socket; no [api] is needed.

It listens on 127.0.0.1 and prints an address with a key that is made for this run. Whoever has that address may do everything that this command's user \
may: it ends with Ctrl-C. Calls without the key, by another host name or from pages of other origins are refused.

Over the network the gateway serves the same console itself, at the addresses that listen of [api] names, to callers with a token or a certificate.

Examples:
  evergate console
  evergate console --port 8088
  ssh -t -L 8088:127.0.0.1:8088 root@vpn.example.com evergate console --port 8088     from your desk";

#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// The port on 127.0.0.1 [default: a free one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(in crate::cli) port: u16,
}
