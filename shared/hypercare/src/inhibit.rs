//! Inhibition: an alert about a provider stands for those about what depends on it.

use crate::rule::Severity;
use crate::silence::Labels;

/// An open alert, as far as this is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// `ep_…`
    pub id: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// How bad it is.
    pub severity: Severity,
}

/// How much of the trouble of a tenant's calls to a route came from one provider, in the newest minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependence {
    /// Whose calls.
    pub tenant_id: String,
    /// To which route.
    pub route: String,
    /// The provider's share of the calls that failed, or of all calls if none did.
    pub provider: String,
    /// From 0 to 1.
    pub share: f64,
}

impl Open<'_> {
    /// Whether it says that a provider is out: urgent, and about a provider as a whole or one model of it.
    pub fn is_outage(&self) -> bool {
        self.severity == Severity::Page && self.provider().is_some() && !self.is_narrow()
    }

    /// Whether it is about a route, an error, a part of the calls or a way to answer.
    fn is_narrow(&self) -> bool {
        ["change", "error", "part", "route"].iter().any(|name| self.labels.contains_key(*name))
    }

    fn provider(&self) -> Option<&str> {
        self.labels.get("provider").map(String::as_str).filter(|provider| !provider.is_empty())
    }
}

/// Which of the outages an alert depends on, if any. None depends on itself, and an outage of a whole
/// provider on none.
pub fn inhibited_by<'a>(
    alert: &Open<'_>,
    outages: &[Open<'a>],
    dependence: &[Dependence],
) -> Option<&'a str> {
    let label = |name: &str| alert.labels.get(name).map(String::as_str).unwrap_or_default();
    let depends = |outage: &&Open<'a>| {
        let provider = outage.provider()?;
        let model = outage.labels.get("model").filter(|model| !model.is_empty());
        let is_dependent = if alert.provider().is_some() {
            // A model's alert depends on its provider, and a route's on the model it is about.
            let is_narrower = alert.is_narrow() || (model.is_none() && !label("model").is_empty());
            alert.provider() == Some(provider)
                && is_narrower
                && model.is_none_or(|model| model == label("model"))
        } else {
            model.is_none()
                && dependence.iter().any(|known| {
                    known.tenant_id == label("tenant_id")
                        && known.route == label("route")
                        && known.provider == provider
                        && known.share >= LEAST_SHARE
                })
        };
        (is_dependent && outage.id != alert.id).then_some(outage.id)
    };
    outages.iter().find_map(|outage| depends(&outage))
}

/// From which share on a series is a provider's own story.
const LEAST_SHARE: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_a_provider_is_quiet_while_the_provider_is_out() {
        let outage = labels("provider=openai");
        let outages = [Open { id: "ep_out", labels: &outage, severity: Severity::Page }];
        let dependence = [
            known("tn_a", "/v1/chat/completions", "openai", 0.9),
            known("tn_b", "/v1/chat/completions", "openai", 0.4),
            known("tn_b", "/v1/chat/completions", "anthropic", 0.6),
        ];
        for (alert, expected) in [
            ("tenant_id=tn_a route=/v1/chat/completions", Some("ep_out")),
            // Less than half of its trouble is that provider's.
            ("tenant_id=tn_b route=/v1/chat/completions", None),
            ("tenant_id=tn_a route=/v1/embeddings", None),
            ("", None),
            ("provider=openai model=gpt-5", Some("ep_out")),
            ("provider=openai route=/v1/chat/completions", Some("ep_out")),
            ("provider=anthropic model=claude", None),
            ("provider=openai error=openai-503", Some("ep_out")),
            ("tenant_id=tn_a part=model=openai/gpt-5 provider=openai", Some("ep_out")),
            // Another alert about all of the provider is no lesser one.
            ("provider=openai", None),
        ] {
            let labels = labels(alert);
            let open = Open { id: "ep_1", labels: &labels, severity: Severity::Page };
            assert_eq!(inhibited_by(&open, &outages, &dependence), expected, "{alert}");
        }
    }

    #[test]
    fn one_models_outage_is_not_its_providers() {
        let outage = labels("provider=openai model=gpt-5");
        let outages = [Open { id: "ep_out", labels: &outage, severity: Severity::Page }];
        let dependence = [known("tn_a", "/v1", "openai", 1.0)];
        for (alert, expected) in [
            ("provider=openai model=gpt-5 route=/v1", Some("ep_out")),
            ("provider=openai model=gpt-4 route=/v1", None),
            ("provider=openai model=gpt-5", None),
            ("tenant_id=tn_a route=/v1", None),
        ] {
            let labels = labels(alert);
            let open = Open { id: "ep_1", labels: &labels, severity: Severity::Page };
            assert_eq!(inhibited_by(&open, &outages, &dependence), expected, "{alert}");
        }
    }

    #[test]
    fn nothing_inhibits_itself_and_tickets_inhibit_nothing() {
        let all = labels("provider=openai");
        for (severity, alert, is_outage) in [
            (Severity::Page, "provider=openai", true),
            (Severity::Ticket, "provider=openai", false),
            (Severity::Page, "provider=", false),
            (Severity::Page, "provider=openai route=/v1", false),
            (Severity::Page, "provider=openai error=openai-503", false),
            (Severity::Page, "route=/v1", false),
        ] {
            let labels = labels(alert);
            assert_eq!(Open { id: "", labels: &labels, severity }.is_outage(), is_outage, "{alert}");
        }
        let open = Open { id: "ep_1", labels: &all, severity: Severity::Page };
        assert_eq!(inhibited_by(&open, &[open], &[]), None);
    }

    fn labels(text: &str) -> Labels {
        let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    fn known(tenant_id: &str, route: &str, provider: &str, share: f64) -> Dependence {
        let [tenant_id, route, provider] = [tenant_id, route, provider].map(str::to_owned);
        Dependence { tenant_id, route, provider, share }
    }
}
