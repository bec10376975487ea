//! Which hosts a component may call: the entries of `allowed_outbound_hosts`.

use anyhow::{Context as _, Result, bail};
use std::ops::RangeInclusive;

/// One entry, `scheme://host[:port]`.
#[derive(Debug)]
pub(crate) struct AllowedHost {
    /// Any, when absent.
    scheme: Option<String>,
    host: Host,
    ports: RangeInclusive<u16>,
}

#[derive(Debug)]
enum Host {
    Any,
    Exactly(String),
    /// The suffix, with its dot: `.example.com`.
    SubdomainOf(String),
}

impl AllowedHost {
    /// Reads an entry whose templates are filled in.
    pub(crate) fn parse(entry: &str) -> Result<Self> {
        let (scheme, rest) = entry
            .trim()
            .split_once("://")
            .with_context(|| format!("allowed host {entry:?} has no scheme, such as https:// or *://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The last colon of a bare IPv6 address is not before a port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let ports = match port {
            None => {
                let port = default_port(scheme).with_context(|| {
                    format!("allowed host {entry:?} needs a port, as its scheme has no usual one")
                })?;
                port..=port
            }
            Some("*") => 0..=u16::MAX,
            Some(port) => match port.split_once("..") {
                // As Spin reads it: the end is not in the range.
                Some((first, end)) => first.parse()?..=end.parse::<u16>()?.saturating_sub(1),
                None => {
                    let port = port.parse().with_context(|| format!("allowed host {entry:?}: port"))?;
                    port..=port
                }
            },
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: Host::parse(host, entry)?,
            ports,
        })
    }

    /// Whether this entry lets a request through.
    pub(crate) fn allows(&self, uri: &http::Uri) -> bool {
        let scheme = uri.scheme_str().unwrap_or("https");
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16().or_else(|| default_port(scheme))) else {
            return false;
        };
        let host = host.to_ascii_lowercase();
        self.scheme.as_deref().is_none_or(|allowed| allowed == scheme)
            && self.ports.contains(&port)
            && match &self.host {
                Host::Any => true,
                Host::Exactly(allowed) => *allowed == host,
                Host::SubdomainOf(suffix) => host.ends_with(suffix.as_str()),
            }
    }
}

impl Host {
    fn parse(host: &str, entry: &str) -> Result<Self> {
        if host.is_empty() || host.contains('/') || host.contains('{') || host == "self" {
            bail!("allowed host {entry:?}: only names, addresses and wildcards are known here");
        }
        let host = host.to_ascii_lowercase();
        Ok(match host.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) if suffix.starts_with('.') && !suffix.contains('*') => {
                Self::SubdomainOf(suffix.to_owned())
            }
            None if !host.contains('*') => Self::Exactly(host),
            _ => bail!("allowed host {entry:?}: a wildcard is the whole host or its first label"),
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_allows_its_scheme_host_and_port_only() {
        for (entry, allowed, denied) in [
            (
                "https://api.openai.com",
                vec!["https://api.openai.com/v1", "https://api.openai.com:443/", "https://API.OpenAI.com/"],
                vec!["http://api.openai.com/", "https://api.openai.com:8443/", "https://openai.com/"],
            ),
            (
                "https://*.example.com",
                vec!["https://a.example.com/", "https://a.b.example.com/"],
                vec!["https://example.com/", "https://badexample.com/", "https://a.example.com.evil.net/"],
            ),
            (
                "http://localhost:*",
                vec!["http://localhost/", "http://localhost:1/", "http://localhost:65535/x"],
                vec!["https://localhost/", "http://127.0.0.1/", "http://localhost.evil.net/"],
            ),
            ("http://127.0.0.1:*", vec!["http://127.0.0.1:4010/v1"], vec!["http://127.0.0.10:4010/"]),
            ("http://[::1]:8080", vec!["http://[::1]:8080/"], vec!["http://[::1]/"]),
            ("http://[::1]", vec!["http://[::1]/"], vec!["http://[::1]:8080/"]),
            ("*://*:*", vec!["http://a/", "https://b:9/"], vec![]),
            ("*://example.com:443", vec!["https://example.com/"], vec!["http://example.com/"]),
            ("https://*", vec!["https://a/"], vec!["https://a:8443/", "http://a/"]),
            ("http://h:8000..8002", vec!["http://h:8000/", "http://h:8001/"], vec!["http://h:8002/"]),
            ("https://example.com/", vec!["https://example.com/"], vec![]),
        ] {
            let parsed = AllowedHost::parse(entry).unwrap();
            for url in allowed {
                assert!(parsed.allows(&url.parse().unwrap()), "{entry} should allow {url}");
            }
            for url in denied {
                assert!(!parsed.allows(&url.parse().unwrap()), "{entry} should deny {url}");
            }
        }
    }

    #[test]
    fn an_entry_that_spin_would_not_read_is_refused() {
        for entry in [
            "example.com",
            "*",
            "https://",
            "*://example.com",
            "https://a.*.com",
            "https://*a.com",
            "https://example.com/path",
            "https://example.com:port",
            "http://10.0.0.0/8:80",
            "http://self",
        ] {
            assert!(AllowedHost::parse(entry).is_err(), "{entry}");
        }
    }
}
