//! The host of `-a`: a name or an address.

use std::net::SocketAddrV6;

use thiserror::Error;

#[derive(Debug, Error)]
#[error("write the address alone, as in 127.0.0.1, ::1 or [::1], and its port with -p")]
pub(crate) struct NotAHost;

/// The host, of IPv6 in the one usual spelling and without brackets.
pub(crate) fn parse(text: &str) -> Result<String, NotAHost> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if bare.is_none() && !text.contains([':', '[', ']']) {
        return Ok(text.to_owned());
    }
    let address: Result<SocketAddrV6, _> = format!("[{}]:0", bare.unwrap_or(text)).parse();
    let address = address.map_err(|_| NotAHost)?.to_string();
    let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix("]:0"));
    inner.map(str::to_owned).ok_or(NotAHost)
}
