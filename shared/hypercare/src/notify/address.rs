//! Which URLs a receiver may have: public ones, over https.
//!
//! Whoever may name a receiver may make the gateway send requests, so nothing is accepted that leads to
//! the machine it runs on or the network around it. Names are judged as written; what they resolve to
//! can be judged with [`is_public`] by who knows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::FieldError;

/// What may be a receiver beside public addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// The loopback, and `http`. For development.
    Loopback,
    /// These hosts, with or without a port, over `http` too.
    Hosts(Vec<String>),
    /// Nothing.
    #[default]
    Nothing,
}

impl Allowed {
    /// Reads a setting: `true`, or a list of hosts with commas between.
    pub fn parse(text: &str) -> Allowed {
        let hosts = || text.split(',').map(|host| host.trim().to_ascii_lowercase());
        match text.trim() {
            "" | "false" => Allowed::Nothing,
            "true" => Allowed::Loopback,
            _ => Allowed::Hosts(hosts().filter(|host| !host.is_empty()).collect()),
        }
    }

    fn names(&self, host: &str, authority: &str) -> bool {
        let Allowed::Hosts(hosts) = self else { return false };
        hosts.iter().any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(authority))
    }

    /// Whether the host of this URL is on the list, and where it is asks nobody.
    pub fn lists(&self, url: &Uri) -> bool {
        url.authority().is_some_and(|authority| self.names(authority.host(), authority.as_str()))
    }
}

/// Says what is wrong with a receiver's URL.
pub fn check_url(url: &str, allowed: &Allowed) -> Result<(), FieldError> {
    problem(url, allowed).map_or(Ok(()), |message| Err(FieldError::new("url", message)))
}

/// Whether requests may go to this address, as a name server or a URL gives it.
pub fn is_public(address: IpAddr) -> bool {
    matches!(place_of_address(address), Place::Public)
}

fn problem(url: &str, allowed: &Allowed) -> Option<&'static str> {
    if url.len() > LONGEST_URL {
        return Some("must not be longer than 2048 characters");
    }
    // Pasted from documentation, or from a window too narrow for it.
    if url.ends_with("...") || url.contains('…') {
        return Some("must be the whole URL, without dots in place of a part");
    }
    if !url.is_ascii() {
        return Some("must be in ASCII: write other letters as %C3%A4, and those of a host name as xn--");
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return Some("must be a URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Some("must be a whole URL, starting with https://");
    };
    let allow_local = *allowed == Allowed::Loopback;
    let is_listed = allowed.lists(&uri);
    if scheme != "https" && !((allow_local || is_listed) && scheme == "http") {
        return Some("must start with https://");
    }
    if authority.as_str().contains('@') {
        return Some("must not contain a user name or password");
    }
    // The URI type lets through ports no socket has.
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !port.is_empty()
        && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0)
    {
        return Some("must have a valid port");
    }
    match place_of(authority.host()) {
        Some(_) if is_listed => None,
        Some(Place::Public) => None,
        Some(Place::Loopback) if allow_local => None,
        Some(Place::Loopback | Place::Private) => Some(NOT_PUBLIC),
        None => Some("must have a valid host name"),
    }
}

enum Place {
    Loopback,
    Private,
    Public,
}

fn place_of(host: &str) -> Option<Place> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse().ok().map(|address| place_of_address(IpAddr::V6(address)));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let (first, last) =
        host.rsplit_once('.').map_or((None, host.as_str()), |(first, last)| (Some(first), last));
    let is_name = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    if host.len() > 253 || !host.split('.').all(is_name) {
        return None;
    }
    // No public name ends in a number. URL parsers read one there as an address, even in short, octal or
    // hexadecimal notation; only the plain one is worth the doubt.
    if last.starts_with("0x") || last.bytes().all(|c| c.is_ascii_digit()) {
        return host.parse().ok().map(|address| place_of_address(IpAddr::V4(address)));
    }
    Some(match (first, last) {
        (_, "localhost") => Place::Loopback,
        (None, _) | (_, "internal" | "intranet" | "lan" | "local" | "localdomain") => Place::Private,
        (Some(first), "arpa") if first == "home" || first.ends_with(".home") => Place::Private,
        _ => Place::Public,
    })
}

fn place_of_address(address: IpAddr) -> Place {
    if address.is_loopback() {
        return Place::Loopback;
    }
    let public = match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    };
    if public { Place::Public } else { Place::Private }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]                 // this network, private, loopback
            | [100, 64..=127, ..]          // carrier-grade NAT, where some clouds keep their metadata
            | [168, 63, 129, 16]           // Azure's metadata
            | [169, 254, ..]               // link-local, where most clouds keep their metadata
            | [172, 16..=31, ..]           // private
            | [192, 0, 0 | 2, _]           // protocol assignments, documentation
            | [192, 88, 99, _]             // 6to4 relays
            | [192, 168, ..]               // private
            | [198, 18..=19, ..]           // benchmarks
            | [198, 51, 100, _]            // documentation
            | [203, 0, 113, _]             // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Only 2000::/3 is given out, which leaves aside loopback, link-local, unique local, multicast, IPv4 in
/// IPv6 and NAT64.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    (0x2000..=0x3fff).contains(&segments[0])
        && !matches!(
            segments,
            [0x2001, 0..=0x1ff, ..]         // protocol assignments, Teredo
                | [0x2001, 0xdb8, ..]       // documentation
                | [0x2002, ..]              // 6to4
                | [0x3fff, 0..=0xfff, ..]   // documentation
                | [_, _, _, _, 0 | 0x200, 0x5efe, ..] // ISATAP: an IPv4 address behind it
        )
}

const NOT_PUBLIC: &str = "must be a public address, or a host that the setting ALLOW_LOCAL_RECEIVERS names";

const LONGEST_URL: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_are_accepted() {
        for url in [
            "https://hooks.slack.com/services/T0/B0/x",
            "https://example.com",
            "https://example.com./hook?a=b#c",
            "https://EXAMPLE.com:8443/hook",
            "https://xn--bcher-kva.example/hook",
            "https://local.example.com/",
            "https://internal.example/",
            "https://1.1.1.1/",
            "https://100.63.255.255/",
            "https://172.32.0.1/",
            "https://[2606:4700:4700::1111]/hook",
            "https://[2606:4700:4700::1111]:8443/hook",
        ] {
            for allowed in [Allowed::Nothing, Allowed::Loopback] {
                assert_eq!(check_url(url, &allowed), Ok(()), "{url}");
            }
        }
    }

    #[test]
    fn urls_that_lead_inside_are_refused_even_in_development() {
        for host in [
            "10.0.0.1",
            "0.0.0.0",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "192.168.1.1.",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::FFFF:7F00:1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[0000:0000:0000:0000:0000:0000:0000:0000]",
            "[2600:1900:4000::5efe:10.0.0.1]",
            "[2600:1900:4000:0:200:5efe:a00:1]",
            "[::ffff:8.8.8.8]",
            "[::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::1]",
            "[2002:A9FE:A9FE::]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "metadata.google.internal",
            "METADATA.GOOGLE.INTERNAL.",
            "printer.local",
            "nas.lan",
            "router.home.arpa",
            "home.arpa",
            "box.localdomain",
            "redis",
            "internal",
        ] {
            for (url, allowed) in [
                (format!("https://{host}/"), Allowed::Nothing),
                (format!("https://{host}:8443/x"), Allowed::Loopback),
                (format!("http://{host}/"), Allowed::Loopback),
            ] {
                let refused = check_url(&url, &allowed).map_err(|error| error.message);
                assert_eq!(refused, Err(NOT_PUBLIC.to_owned()), "{url}");
            }
        }
    }

    #[test]
    fn the_loopback_is_for_development() {
        for url in [
            "https://127.0.0.1/",
            "http://127.0.0.1:8080/hook",
            "http://127.1.2.3/",
            "http://localhost:3000",
            "http://localhost./",
            "http://LOCALHOST/",
            "http://app.localhost/",
            "http://[::1]:3000/",
        ] {
            assert!(check_url(url, &Allowed::Nothing).is_err(), "{url}");
            assert_eq!(check_url(url, &Allowed::Loopback), Ok(()), "{url}");
        }
        assert!(check_url("http://example.com/", &Allowed::Nothing).is_err());
        assert_eq!(check_url("http://example.com/", &Allowed::Loopback), Ok(()));
    }

    #[test]
    fn a_list_of_hosts_opens_those_and_no_others() {
        let allowed = Allowed::parse("alertmanager.monitoring, 10.0.0.5:9093,[fd00::1]");
        for (url, good) in [
            ("http://alertmanager.monitoring:9093/x", true),
            ("https://ALERTMANAGER.monitoring/x", true),
            ("http://10.0.0.5:9093/", true),
            ("http://[fd00::1]:8080/", true),
            ("https://10.0.0.5/", false),
            ("http://10.0.0.5:9094/", false),
            ("http://127.0.0.1/", false),
            ("http://example.com/", false),
            ("https://example.com/", true),
            ("http://user@10.0.0.5:9093/", false),
        ] {
            assert_eq!(check_url(url, &allowed).is_ok(), good, "{url}");
        }
        assert_eq!(Allowed::parse("true"), Allowed::Loopback);
        for text in ["", "false", " "] {
            assert_eq!(Allowed::parse(text), Allowed::Nothing);
        }
    }

    #[test]
    fn an_address_a_name_stands_for_is_judged_alike() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("2606:4700:4700::1111", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::808:808", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn odd_notations_of_addresses_are_refused() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0X7F.0.0.1",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "127.0.1",
            "127.0.0.01",
            "127.0.0.0x1",
            "1.1.1.1.1",
            "1.1.1.256",
            "example.0x",
            "example.123",
            "4294967295",
        ] {
            for allowed in [Allowed::Nothing, Allowed::Loopback] {
                let refused = check_url(&format!("https://{host}/"), &allowed).map_err(|error| error.message);
                assert_eq!(refused, Err("must have a valid host name".to_owned()), "{host}");
            }
        }
    }

    #[test]
    fn what_is_no_plain_https_url_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for (url, message) in [
            ("", "must be a URL"),
            ("not a url", "must be a URL"),
            ("https://", "must be a URL"),
            ("https:///path", "must be a URL"),
            ("https://exa mple.com/", "must be a URL"),
            (
                "https://bücher.example/",
                "must be in ASCII: write other letters as %C3%A4, and those of a host name as xn--",
            ),
            ("https://%6cocalhost/", "must be a URL"),
            ("https://example.com\\@localhost/", "must be a URL"),
            ("https://[::1%25lo]/", "must have a valid host name"),
            ("/hook", "must be a whole URL, starting with https://"),
            ("example.com", "must be a whole URL, starting with https://"),
            ("http://example.com/", "must start with https://"),
            ("ftp://example.com/", "must start with https://"),
            ("https://user@example.com/", "must not contain a user name or password"),
            ("https://user:pass@example.com/", "must not contain a user name or password"),
            ("https://example.com@10.0.0.1/", "must not contain a user name or password"),
            ("https://example.com:0/", "must have a valid port"),
            ("https://example.com:65536/", "must have a valid port"),
            ("https://example.com:/", "must have a valid port"),
            ("https://-~!.example/", "must have a valid host name"),
            ("https://a..example/", "must have a valid host name"),
            ("https://.example/", "must have a valid host name"),
            ("https://example.com../", "must have a valid host name"),
            ("https://[::g]/", "must have a valid host name"),
            (&long, "must not be longer than 2048 characters"),
        ] {
            let refused = check_url(url, &Allowed::Nothing).map_err(|error| (error.field, error.message));
            assert_eq!(refused, Err(("url", message.to_owned())), "{url}");
        }
    }
}
