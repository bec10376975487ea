//! Where a call comes from: enough to tell networks apart and to see one again, and no address.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::{Host, secret::Secrets};

/// The network a request comes from, as records have it; none where the host does not say, or nothing can be hashed.
pub fn source<H: Host>(host: &H, headers: &HeaderMap) -> Option<String> {
    let config = host.config();
    let secrets = config.secrets.as_ref()?;
    let name = config.client_address_header.as_deref().unwrap_or(H::ADDRESS_HEADER);
    let value = headers.get(name)?.to_str().ok()?;
    // What is nearer to us stands behind what anybody may have written.
    let nearest = value.rsplit(',').next().unwrap_or(value);
    of_address(secrets, nearest)
}

/// The network an address, with or without a port, lies in.
pub fn of_address(secrets: &Secrets, address: &str) -> Option<String> {
    let address = address.trim();
    let address: IpAddr =
        address.parse().ok().or_else(|| address.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    // Who has an address of IPv6 has at least all that begin alike.
    Some(match address.to_canonical() {
        IpAddr::V4(address) => secrets.source_hash(&address.octets()[..3]),
        IpAddr::V6(address) => secrets.source_hash(&address.octets()[..6]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_told_from_another_and_not_by_its_address() {
        let secrets = Secrets::derive("a deployment's secret, thirty-two");
        let of = |address: &str| of_address(&secrets, address);
        let home = of("203.0.113.7").expect("an address");
        assert_eq!(home.len(), 12);
        for same in ["203.0.113.200", " 203.0.113.7 ", "203.0.113.7:5123", "::ffff:203.0.113.9"] {
            assert_eq!(of(same).as_ref(), Some(&home), "{same}");
        }
        assert_ne!(of("203.0.114.7"), Some(home.clone()));
        assert_eq!(of("2001:db8:1::1"), of("[2001:db8:1:ffff::2]:443"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        for none in ["", "unknown", "203.0.113", "203.0.113.7.1"] {
            assert_eq!(of(none), None, "{none}");
        }
        let other = Secrets::derive("another secret of thirty-two chars");
        assert_ne!(of_address(&other, "203.0.113.7"), Some(home));
    }
}
