//! Which component answers a path.

use anyhow::{Result, bail};

/// From path to component. The matching is Spin's own: exact segments before `:parameters` before `...`.
#[derive(Default)]
pub(crate) struct Routes(routefinder::Router<Route>);

struct Route {
    pattern: String,
    component: String,
}

/// The route a path takes.
pub(crate) struct Match<'a> {
    pub(crate) component: &'a str,
    /// The route as the manifest has it.
    pub(crate) pattern: &'a str,
    /// What `...` stands for, with its leading slash.
    pub(crate) wildcard: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Routes {
    /// Adds a pattern as the manifest has it.
    pub(crate) fn add(&mut self, pattern: String, component: String) -> Result<()> {
        let path = match pattern.strip_suffix("/...") {
            Some(prefix) => format!("{prefix}/*"),
            None => pattern.clone(),
        };
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
        // Spin would let the last one win.
        if self.0.iter().any(|(_, route)| route.pattern == pattern) {
            bail!("route {pattern} is there twice");
        }
        self.0.add(path, Route { pattern: pattern.clone(), component }).map_err(anyhow::Error::msg)?;
        Ok(())
    }

    /// The best route for a path, if any.
    pub(crate) fn find(&self, path: &str) -> Option<Match<'_>> {
        let best = self.0.best_match(path)?;
        let captures = best.captures();
        let wildcard = match captures.wildcard() {
            None => String::new(),
            Some("") if !path.ends_with('/') => String::new(),
            Some("") => "/".to_owned(),
            // The router leaves a last slash out.
            Some(rest) => format!("/{rest}{}", if path.ends_with('/') { "/" } else { "" }),
        };
        let parameters = captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Route { pattern, component } = best.handler();
        Some(Match { component, pattern, wildcard, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_wins() {
        let mut routes = Routes::default();
        for pattern in
            ["/...", "/v1/...", "/v1/chat/completions", "/v1/:kind", "/users/:id/...", "/", "/exact/"]
        {
            routes.add(pattern.to_owned(), "c".to_owned()).unwrap();
        }
        let found = |path: &str| {
            let found = routes.find(path).unwrap();
            let parameters: String = found.parameters.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("{} [{}]{parameters}", found.pattern, found.wildcard)
        };
        for (path, expected) in [
            ("/", "/ []"),
            ("/nothing", "/... [/nothing]"),
            ("/nothing/", "/... [/nothing/]"),
            ("/v1", "/v1/... []"),
            ("/v1/", "/v1/... [/]"),
            ("/v1/models", "/v1/:kind [] kind=models"),
            ("/v1/models/x", "/v1/... [/models/x]"),
            ("/v1/chat/completions", "/v1/chat/completions []"),
            ("/v1/chat/completions/x", "/v1/... [/chat/completions/x]"),
            ("/users/7/keys/1", "/users/:id/... [/keys/1] id=7"),
            ("/exact", "/exact/ []"),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }
}
