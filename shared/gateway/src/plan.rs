//! Where a call goes: a name becomes a list of targets, tried in order.

use llm::{
    Provider, demo,
    operation::Operation,
    provider::{self, Api},
};

use crate::{Error, auth::Caller};

/// A target by name.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The provider's row.
    pub provider: &'static Provider,
    /// The model, as the provider names it.
    pub model: &'a str,
}

/// The targets for `model`, at least one.
pub fn plan<'a>(model: &'a str, caller: &'a Caller) -> Result<Vec<Choice<'a>>, Error> {
    let alias = caller.aliases.get(model);
    let choices = targets(model, caller);
    if choices.is_empty() {
        return Err(Error::ModelUnknown(short(model)));
    }
    let mut names = alias.into_iter().flatten().map(String::as_str);
    let all_targets_allowed = alias.is_some() && names.all(|target| is_allowed(target, caller));
    if !is_allowed(model, caller) && !all_targets_allowed {
        return Err(Error::ModelNotAllowed(short(model)));
    }
    Ok(choices)
}

/// What a name stands for, whoever may use it.
pub fn targets<'a>(model: &'a str, caller: &'a Caller) -> Vec<Choice<'a>> {
    match caller.aliases.get(model) {
        Some(targets) => targets.iter().filter_map(|target| choice(target)).collect(),
        None => choice(model).into_iter().collect(),
    }
}

/// Refuses models named beside the target's, by its provider's own names, that the key may not use.
pub fn check_named(names: &[String], target: &Choice<'_>, caller: &Caller) -> Result<(), Error> {
    let others = names.iter().map(String::as_str).filter(|name| *name != target.model);
    // What a model's name brings along at OpenRouter: settings that may name another.
    let preset = target.model.find("@preset/").filter(|at| *at > 0).map(|at| &target.model[at..]);
    let mut names = others.chain(preset).map(|name| format!("{}/{name}", target.provider.name));
    match names.find(|name| !is_allowed(name, caller)) {
        Some(name) => Err(Error::ModelNotAllowed(short(&name))),
        None => Ok(()),
    }
}

/// Those of the targets that can do what is asked. If none can, the refusal names providers that can.
pub fn able<'a>(mut choices: Vec<Choice<'a>>, operation: &dyn Operation) -> Result<Vec<Choice<'a>>, Error> {
    let first = choices[0].provider.name;
    choices.retain(|choice| operation.is_offered(choice.provider));
    if choices.is_empty() {
        let able = provider::PROVIDERS.iter().filter(|provider| operation.is_offered(provider));
        let names: Vec<&str> = able.map(|provider| provider.name).collect();
        let (name, names) = (operation.name(), names.join(", "));
        let message =
            format!("`{first}` does not serve `{name}` here. Ask a model of one that does: {names}.");
        return Err(llm::Error::unsupported("model", message).into());
    }
    Ok(choices)
}

/// Whether the key may use this name, going by the name alone.
pub fn is_allowed(name: &str, caller: &Caller) -> bool {
    let Some(patterns) = &caller.models else { return true };
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    })
}

/// Whether the key may use any model of this provider.
pub fn may_use(provider: &Provider, caller: &Caller) -> bool {
    let Some(patterns) = &caller.models else { return true };
    let is_its = |name: &str| name.split_once('/').is_some_and(|(known, _)| known == provider.name);
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => is_its(prefix) || provider.name.starts_with(prefix),
        None => {
            is_its(pattern)
                || caller
                    .aliases
                    .get(pattern)
                    .is_some_and(|targets| targets.iter().any(|target| is_its(target)))
        }
    })
}

/// The target that is named in full. What a provider serves is its own to say, but for the built-in one.
pub fn choice(target: &str) -> Option<Choice<'_>> {
    let (provider, model) = provider::split(target)?;
    let is_there = provider.api != Api::Demo || demo::MODELS.contains(&model);
    is_there.then_some(Choice { provider, model })
}

/// A caller's text in an error: a name is short, anything longer is not one.
fn short(name: &str) -> String {
    match name.char_indices().nth(100) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(models: Option<&[&str]>) -> Caller {
        let fast = vec!["groq/llama".to_owned(), "openai/gpt-5-mini".to_owned()];
        Caller {
            models: models.map(|models| models.iter().map(|&model| model.to_owned()).collect()),
            aliases: [("fast".to_owned(), fast)].into(),
            ..Caller::default()
        }
    }

    fn names(model: &str, models: Option<&[&str]>) -> String {
        match plan(model, &caller(models)) {
            Ok(choices) => {
                let names: Vec<String> = choices
                    .iter()
                    .map(|choice| format!("{}/{}", choice.provider.name, choice.model))
                    .collect();
                names.join(" ")
            }
            Err(error) => error.code().to_owned(),
        }
    }

    #[test]
    fn a_name_becomes_targets_if_the_key_may() {
        let cases: [(&str, Option<&[&str]>, &str); 12] = [
            ("demo/nope", None, "model_not_found"),
            ("openai/gpt-5", None, "openai/gpt-5"),
            ("openrouter/meta/llama", None, "openrouter/meta/llama"),
            ("fast", None, "groq/llama openai/gpt-5-mini"),
            ("slow", None, "model_not_found"),
            ("nobody/gpt-5", None, "model_not_found"),
            ("openai/gpt-5", Some(&["openai/*"]), "openai/gpt-5"),
            ("groq/llama", Some(&["openai/*"]), "model_not_allowed"),
            ("fast", Some(&["fast"]), "groq/llama openai/gpt-5-mini"),
            ("fast", Some(&["openai/*"]), "model_not_allowed"),
            ("fast", Some(&["openai/*", "groq/*"]), "groq/llama openai/gpt-5-mini"),
            ("openai/gpt-5", Some(&[]), "model_not_allowed"),
        ];
        for (model, models, expected) in cases {
            assert_eq!(names(model, models), expected, "{model} for {models:?}");
        }
    }
}
