//! The admin API, under `/admin/v1`: tenants, keys, aliases, prices, receivers, rules, and what was recorded.

mod alerts;
mod baselines;
mod blocks;
mod csv;
mod fields;
mod identity;
mod prices;
mod prometheus;
mod receivers;
mod reports;
mod rules;
mod watch;

use bytes::Bytes;
use gateway::{Error, Host, call::Incoming};
use http::Response;

use crate::route::no_route;

/// Answers a request whose token was checked. `path` is what follows `/admin/v1/`.
pub(crate) async fn answer<H: Host>(
    path: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    // What is asked with a POST there changes nothing.
    if let Some(path) = path.strip_prefix("prometheus/api/v1/") {
        return prometheus::answer(path, incoming, host).await;
    }
    let wants_csv = csv::is_wanted(incoming)?;
    let answer = json_answer(path, incoming, host).await?;
    Ok(if wants_csv { csv::of(answer) } else { answer })
}

async fn json_answer<H: Host>(path: &str, incoming: &Incoming, host: &H) -> Result<Response<Bytes>, Error> {
    let parts: Vec<&str> = path.split('/').collect();
    let answered = find(&parts, incoming, host).await?;
    if !incoming.method().is_safe() {
        alerts::note_change(incoming.method().as_str(), &parts, host).await;
    }
    Ok(answered)
}

async fn find<H: Host>(parts: &[&str], incoming: &Incoming, host: &H) -> Result<Response<Bytes>, Error> {
    match (incoming.method().as_str(), parts) {
        ("GET", ["tenants"]) => identity::list_tenants(host).await,
        ("POST", ["tenants"]) => identity::create_tenant(incoming, host).await,
        ("GET", ["tenants", tenant]) => identity::find_tenant(tenant, host).await,
        ("PATCH", ["tenants", tenant]) => identity::update_tenant(tenant, incoming, host).await,
        ("DELETE", ["tenants", tenant]) => identity::disable_tenant(tenant, host).await,
        ("GET", ["tenants", tenant, "keys"]) => identity::list_keys(tenant, host).await,
        ("POST", ["tenants", tenant, "keys"]) => identity::create_key(tenant, incoming, host).await,
        ("DELETE", ["keys", key]) => identity::revoke_key(key, host).await,
        ("GET", ["tenants", tenant, "aliases"]) => identity::list_aliases(tenant, host).await,
        ("PUT", ["tenants", tenant, "aliases", alias]) => {
            identity::put_alias(tenant, alias, incoming, host).await
        }
        ("DELETE", ["tenants", tenant, "aliases", alias]) => {
            identity::delete_alias(tenant, alias, host).await
        }
        // A model's name contains slashes, escaped or not.
        ("GET", ["tenants", tenant, "prices"]) => prices::list_prices(tenant, None, host).await,
        ("GET", ["prices"]) => prices::list_prices(EVERYBODY, None, host).await,
        (method, ["tenants", tenant, "prices", model @ ..]) => {
            answer_prices(method, tenant, &model.join("/"), incoming, host).await
        }
        (method, ["prices", model @ ..]) => {
            answer_prices(method, EVERYBODY, &model.join("/"), incoming, host).await
        }
        ("GET", ["receivers"]) => receivers::list_receivers(host).await,
        ("POST", ["receivers"]) => receivers::create_receiver(incoming, host).await,
        ("PATCH", ["receivers", receiver]) => receivers::update_receiver(receiver, incoming, host).await,
        ("DELETE", ["receivers", receiver]) => receivers::delete_receiver(receiver, host).await,
        ("POST", ["receivers", receiver, "test"]) => receivers::test_receiver(receiver, host).await,
        ("GET", ["rules"]) => rules::list_rules(host).await,
        ("POST", ["rules"]) => rules::create_rule(incoming, host).await,
        ("POST", ["rules", "preview"]) => rules::preview_rule(incoming, host).await,
        ("GET", ["rules", "quality"]) => rules::list_quality(incoming, host).await,
        ("PUT", ["rules", rule]) => rules::put_rule(rule, incoming, host).await,
        ("DELETE", ["rules", rule]) => rules::delete_rule(rule, host).await,
        ("PUT", ["receivers", receiver, "habits"]) => alerts::put_habits(receiver, incoming, host).await,
        ("GET", ["alerts"]) => alerts::list_alerts(incoming, host).await,
        ("GET", ["episodes", episode]) => alerts::find_episode(episode, host).await,
        ("POST", ["episodes", episode, action]) => {
            alerts::act_on_episode(episode, action, incoming, host).await
        }
        ("GET", ["silences"]) => alerts::list_silences(host).await,
        ("POST", ["silences"]) => alerts::create_silence(incoming, host).await,
        ("DELETE", ["silences", silence]) => alerts::end_silence(silence, host).await,
        ("GET", ["escalations"]) => alerts::list_escalations(host).await,
        ("POST", ["escalations"]) => alerts::create_escalation(incoming, host).await,
        ("DELETE", ["escalations", escalation]) => alerts::delete_escalation(escalation, host).await,
        ("GET", ["changes"]) => alerts::list_changes(incoming, host).await,
        ("POST", ["changes"]) => alerts::create_change(incoming, host).await,
        ("GET", ["receivers", receiver, "reports"]) => reports::list_reports(receiver, host).await,
        ("PUT", ["receivers", receiver, "reports", cadence]) => {
            reports::put_report(receiver, cadence, incoming, host).await
        }
        ("DELETE", ["receivers", receiver, "reports", cadence]) => {
            reports::delete_report(receiver, cadence, host).await
        }
        ("POST", ["receivers", receiver, "reports", cadence, "send"]) => {
            reports::send_report(receiver, cadence, host).await
        }
        ("GET", ["reports", cadence]) => reports::preview_report(cadence, incoming, host).await,
        ("GET", ["receivers", receiver, "deliveries"]) => {
            receivers::list_deliveries(receiver, incoming, host).await
        }
        ("POST", ["receivers", receiver, "deliveries", delivery, "redeliver"]) => {
            receivers::redeliver(receiver, delivery, host).await
        }
        ("GET", ["outlets"]) => watch::list_outlets(host).await,
        ("GET", ["blocks"]) => blocks::list_blocks(incoming, host).await,
        ("POST", ["blocks"]) => blocks::create_block(incoming, host).await,
        ("DELETE", ["blocks", block]) => blocks::lift_block(block, incoming, host).await,
        ("GET", ["metrics"]) => watch::query_metrics(incoming, host).await,
        ("GET", ["baselines"]) => baselines::list_baselines(host).await,
        ("GET", ["baselines", name]) => baselines::find_baseline(name, host).await,
        ("PUT", ["baselines", name]) => baselines::put_baseline(name, incoming, host).await,
        ("DELETE", ["baselines", name]) => baselines::delete_baseline(name, host).await,
        ("GET", ["baselines", name, "comparison"]) => baselines::compare_baseline(name, incoming, host).await,
        ("GET", ["calls"]) => watch::list_calls(incoming, host).await,
        ("GET", ["calls", call]) => watch::find_call(call, host).await,
        (method, _) => Err(no_route(method, incoming.uri().path())),
    }
}

async fn answer_prices<H: Host>(
    method: &str,
    tenant: &str,
    model: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    match method {
        "GET" => prices::list_prices(tenant, Some(model), host).await,
        "PUT" => prices::put_prices(tenant, model, incoming, host).await,
        "DELETE" => prices::delete_prices(tenant, model, host).await,
        _ => Err(no_route(method, incoming.uri().path())),
    }
}

/// Whose prices hold where a tenant has none.
const EVERYBODY: &str = "";
