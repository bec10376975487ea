//! Who is told of which alert, when, and why somebody is not.
//!
//! An episode that is silenced, inhibited or snoozed is *muted*: it goes on, and nobody is told. When it is not
//! muted any more and still open, those concerned are told then. Whoever was told that it fired is told that it
//! resolved, muted or not.
//!
//! A receiver that is named in any escalation hears by escalations only. All others hear at once of what
//! concerns them, or, if it is a ticket, when their habits say.

use std::collections::{BTreeMap, BTreeSet};

use crate::escalation::{Policy, policy_for};
use crate::group;
use crate::hours::Zone;
use crate::inhibit::{Dependence, Open, inhibited_by};
use crate::rule::Severity;
use crate::silence::{Labels, Silence};

/// An episode that is open, or that nobody was told of yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// `ep_…`
    pub id: String,
    /// The rule.
    pub rule_id: String,
    /// Whose calls; empty for the gateway as a whole.
    pub tenant_id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub labels: Labels,
    /// Whether it is over.
    pub is_over: bool,
    /// Since when those concerned are told.
    pub told_ms: Option<i64>,
    /// Why nobody was told, as of the minute before.
    pub muted: Option<String>,
    /// Until when it is snoozed.
    pub snoozed_ms: Option<i64>,
    /// Whether somebody looks after it.
    pub is_acknowledged: bool,
    /// How many steps of its escalation are done.
    pub escalated: i64,
}

/// A receiver that is not disabled.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// `rcv_…`
    pub id: String,
    /// Whose alerts it hears of; none: everybody's.
    pub tenant_id: Option<String>,
    /// When and how it hears.
    pub habits: Habits,
}

/// When and how a receiver wants to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct Habits {
    /// Alerts that agree in these labels come in one notice.
    pub group_by: Vec<String>,
    /// Tickets come together, this often.
    pub digest_minutes: Option<i64>,
    /// Tickets wait from the one minute of the day to the other.
    pub quiet: Option<(i64, i64)>,
    /// By this clock.
    pub zone: Zone,
}

impl Habits {
    /// When to tell of a ticket; none: at once.
    pub fn hold_until(&self, now_ms: i64) -> Option<i64> {
        let due_ms = self.digest_minutes.map(|minutes| self.zone.next_boundary(now_ms, minutes));
        let (from, to) = self.quiet.unwrap_or((0, 0));
        // What is due in the quiet hours is due at their end.
        self.zone.quiet_until(due_ms.unwrap_or(now_ms), from, to).or(due_ms)
    }
}

/// Something that was held back for a receiver until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub episode_id: String,
    /// For whom.
    pub receiver_id: String,
}

/// All there is to consider.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Now.
    pub now_ms: i64,
    /// The episodes.
    pub episodes: &'a [Episode],
    /// The silences there are.
    pub silences: &'a [Silence],
    /// The matrix.
    pub policies: &'a [Policy],
    /// The receivers.
    pub receivers: &'a [Receiver],
    /// What depends on which provider.
    pub dependence: &'a [Dependence],
    /// What was held back until now.
    pub held: &'a [Held],
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Episodes of which something changed.
    pub marks: Vec<Mark>,
    /// Notices to be sent.
    pub tellings: Vec<Telling>,
    /// Notices to be held back: episode, receiver, until when.
    pub holds: Vec<(String, String, i64)>,
    /// What was held back and need not be any more.
    pub released: Vec<Held>,
    /// For the timelines.
    pub events: Vec<Event>,
}

/// How an episode is marked from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Which episode.
    pub episode_id: String,
    /// [`Episode::told_ms`].
    pub told_ms: Option<i64>,
    /// [`Episode::muted`].
    pub muted: Option<String>,
    /// [`Episode::snoozed_ms`].
    pub snoozed_ms: Option<i64>,
    /// [`Episode::escalated`].
    pub escalated: i64,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// To whom.
    pub receiver_id: String,
    /// About which episodes.
    pub episode_ids: Vec<String>,
    /// Whether they were held back for it.
    pub is_digest: bool,
    /// Not the first time: what makes this one different.
    pub again: Option<String>,
}

/// Something for a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which episode.
    pub episode_id: String,
    /// A word.
    pub kind: &'static str,
    /// One sentence.
    pub detail: String,
}

/// Decides.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { now_ms, episodes, receivers, policies, .. } = *situation;
    let by_escalation: BTreeSet<&String> =
        policies.iter().flat_map(|policy| &policy.steps).flat_map(|step| &step.receivers).collect();
    let outages: Vec<Open<'_>> =
        episodes.iter().filter(|episode| !episode.is_over).map(open).filter(Open::is_outage).collect();
    let mut decision = Decision::default();
    let mut heap = Heap::default();
    for episode in episodes {
        let mut mark = Mark {
            episode_id: episode.id.clone(),
            told_ms: episode.told_ms,
            muted: muted(situation, episode, &outages),
            snoozed_ms: episode.snoozed_ms,
            escalated: episode.escalated,
        };
        let mut event = |kind, detail: String| {
            decision.events.push(Event { episode_id: episode.id.clone(), kind, detail });
        };
        match (&episode.muted, &mark.muted) {
            (before, Some(why)) if before.as_ref() != Some(why) => event("muted", why.clone()),
            (Some(why), None) => event("unmuted", format!("not {why} any more")),
            _ => {}
        }
        let concerned =
            |receiver: &&Receiver| receiver.tenant_id.as_ref().is_none_or(|id| *id == episode.tenant_id);
        let direct =
            || receivers.iter().filter(concerned).filter(|receiver| !by_escalation.contains(&receiver.id));
        let named = |ids: &[String]| {
            let ids: BTreeSet<&String> = ids.iter().collect();
            receivers.iter().filter(move |receiver| ids.contains(&receiver.id)).collect::<Vec<_>>()
        };
        let policy = policy_for(policies, &episode.rule_id, episode.severity);
        if mark.muted.is_some() {
            // It came and went, and nobody was to know.
            if episode.is_over {
                mark.told_ms = Some(episode.told_ms.unwrap_or(now_ms));
            }
        } else {
            let told_ms = episode.told_ms.unwrap_or(now_ms);
            if episode.told_ms.is_none() {
                mark.told_ms = Some(now_ms);
                for receiver in direct() {
                    heap.tell(situation, episode, receiver, None, &mut decision.holds);
                }
            } else if episode.snoozed_ms.is_some_and(|until_ms| until_ms <= now_ms) && !episode.is_over {
                let done = policy.map(|policy| policy.steps.iter().take(episode.escalated as usize));
                let told: Vec<String> =
                    done.into_iter().flatten().flat_map(|step| step.receivers.clone()).collect();
                let again = format!("snoozed-{}", episode.snoozed_ms.unwrap_or_default());
                event("reminded", "its snooze is over and it is still open".to_owned());
                for receiver in direct().chain(named(&told)) {
                    heap.tell(situation, episode, receiver, Some(again.clone()), &mut decision.holds);
                }
            }
            if mark.snoozed_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                mark.snoozed_ms = None;
            }
            let due = match policy {
                Some(policy) if !episode.is_acknowledged => policy.due(told_ms, episode.escalated, now_ms),
                _ => Vec::new(),
            };
            for due in due {
                // One that is over is told of once, if at all.
                if episode.is_over && (episode.told_ms.is_some() || due.round > 0) {
                    break;
                }
                mark.escalated = due.number + 1;
                let again = (due.round > 0).then(|| format!("round-{}", due.number));
                event("escalated", format!("step {} of its escalation", due.number + 1));
                // Whoever an earlier step told knows.
                let told =
                    policy.into_iter().flat_map(|policy| policy.steps.iter().take(due.number as usize));
                let known: BTreeSet<&String> = told.flat_map(|step| &step.receivers).collect();
                let is_new = |receiver: &&Receiver| due.round > 0 || !known.contains(&receiver.id);
                for receiver in named(&due.step.receivers).into_iter().filter(is_new) {
                    heap.tell(situation, episode, receiver, again.clone(), &mut decision.holds);
                }
            }
        }
        let Mark { told_ms, muted, snoozed_ms, escalated, .. } = &mark;
        let before = (&episode.told_ms, &episode.muted, &episode.snoozed_ms, &episode.escalated);
        if before != (told_ms, muted, snoozed_ms, escalated) {
            decision.marks.push(mark);
        }
    }
    release(situation, &mut heap, &mut decision);
    decision.tellings = heap.tellings();
    decision
}

/// Why nobody is told of an episode; none: nothing is in the way.
fn muted(situation: &Situation<'_>, episode: &Episode, outages: &[Open<'_>]) -> Option<String> {
    let is_on = |silence: &&Silence| silence.is_on(situation.now_ms) && silence.covers(&episode.labels);
    if let Some(silence) = situation.silences.iter().find(is_on) {
        return Some(format!("silenced by {}", silence.id));
    }
    if episode.snoozed_ms.is_some_and(|until_ms| until_ms > situation.now_ms) {
        return Some("snoozed".to_owned());
    }
    inhibited_by(&open(episode), outages, situation.dependence).map(|id| format!("inhibited by {id}"))
}

fn open(episode: &Episode) -> Open<'_> {
    Open { id: &episode.id, labels: &episode.labels, severity: episode.severity }
}

/// What was held back until now, a notice a receiver.
fn release(situation: &Situation<'_>, heap: &mut Heap, decision: &mut Decision) {
    for held in situation.held {
        let episode = situation.episodes.iter().find(|episode| episode.id == held.episode_id);
        let receiver = situation.receivers.iter().find(|receiver| receiver.id == held.receiver_id);
        let mark = decision.marks.iter().find(|mark| mark.episode_id == held.episode_id);
        let muted = match (mark, episode) {
            (Some(mark), _) => mark.muted.is_some(),
            (None, Some(episode)) => episode.muted.is_some(),
            (None, None) => false,
        };
        if muted && episode.is_some_and(|episode| !episode.is_over) {
            continue;
        }
        if let (Some(episode), Some(receiver), false) = (episode, receiver, muted) {
            heap.add(&receiver.id, Vec::new(), None, true, &episode.id);
        }
        decision.released.push(held.clone());
    }
}

/// What goes into one notice: the receiver, what its alerts agree in, which time it is, and whether it was held.
type Key = (String, Vec<String>, Option<String>, bool);

#[derive(Default)]
struct Heap(BTreeMap<Key, Vec<String>>);

impl Heap {
    fn tell(
        &mut self,
        situation: &Situation<'_>,
        episode: &Episode,
        receiver: &Receiver,
        again: Option<String>,
        holds: &mut Vec<(String, String, i64)>,
    ) {
        let is_ticket = episode.severity == Severity::Ticket && again.is_none();
        match receiver.habits.hold_until(situation.now_ms).filter(|_| is_ticket) {
            Some(due_ms) => holds.push((episode.id.clone(), receiver.id.clone(), due_ms)),
            None => {
                let mut key = group::key(&episode.labels, &receiver.habits.group_by);
                // What is over and what is not, and what is said again, is told apart.
                key.push(if episode.is_over { "over" } else { "open" }.to_owned());
                if again.is_some() {
                    key.push(episode.id.clone());
                }
                self.add(&receiver.id, key, again, false, &episode.id);
            }
        }
    }

    fn add(
        &mut self,
        receiver_id: &str,
        key: Vec<String>,
        again: Option<String>,
        is_digest: bool,
        episode_id: &str,
    ) {
        let episodes = self.0.entry((receiver_id.to_owned(), key, again, is_digest)).or_default();
        if !episodes.iter().any(|known| known == episode_id) {
            episodes.push(episode_id.to_owned());
        }
    }

    fn tellings(self) -> Vec<Telling> {
        let telling = |((receiver_id, _, again, is_digest), episode_ids)| Telling {
            receiver_id,
            episode_ids,
            is_digest,
            again,
        };
        self.0.into_iter().map(telling).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escalation::Step;
    use crate::silence::parse_matchers;
    use crate::time::MINUTE_MS;

    //  each minute: a letter for each receiver that is told (A for what is told again), and otherwise
    //  . nothing   s silenced   i inhibited   z snoozed

    #[test]
    fn who_is_not_muted_is_told_at_once_and_once() {
        assert_eq!(Play::default().minutes(5), "a....");
        let of_bob =
            Play { receivers: vec![receiver("a", Some("tn_b")), receiver("b", None)], ..Play::default() };
        assert_eq!(of_bob.minutes(3), "b..");
    }

    #[test]
    fn a_silence_holds_it_back_until_it_is_over() {
        let silenced = |from: i64, to: i64| Play { silenced: vec![(from, to)], ..Play::default() };
        assert_eq!(silenced(0, 3).minutes(6), "sssa..");
        // Once told is told.
        assert_eq!(silenced(2, 4).minutes(6), "a.ss..");
        let twice = Play { silenced: vec![(0, 2), (1, 4)], ..Play::default() };
        assert_eq!(twice.minutes(6), "ssssa.");
    }

    #[test]
    fn an_outage_holds_back_what_depends_on_it() {
        let play = Play { outage: Some((0, 3)), ..Play::default() };
        assert_eq!(play.minutes(6), "iiia..");
        let other = Play { outage: Some((0, 3)), depends: 0.4, ..Play::default() };
        assert_eq!(other.minutes(3), "a..");
    }

    #[test]
    fn a_snooze_ends_with_a_reminder() {
        let play = Play { snoozed: Some((2, 4)), ..Play::default() };
        assert_eq!(play.minutes(7), "a.zzA..");
        // A silence outlasts it.
        let silenced = Play { snoozed: Some((2, 4)), silenced: vec![(3, 6)], ..Play::default() };
        assert_eq!(silenced.minutes(8), "a.zsssA.");
    }

    #[test]
    fn escalation_waits_and_stops() {
        let policy = |repeats| Policy {
            id: "esc_1".to_owned(),
            rule: None,
            severity: Some(Severity::Page),
            steps: [(0, "b"), (3, "c")]
                .map(|(wait_minutes, id)| Step { wait_minutes, receivers: vec![id.to_owned()] })
                .to_vec(),
            repeats,
            repeat_after_minutes: 5,
        };
        let play = |repeats| Play {
            receivers: ["a", "b", "c"].map(|id| receiver(id, None)).to_vec(),
            policies: vec![policy(repeats)],
            ..Play::default()
        };
        assert_eq!(play(0).minutes(8), "(ab)..c....");
        assert_eq!(play(1).minutes(13), "(ab)..c....B..C.");
        assert_eq!(Play { acknowledged: Some(2), ..play(1) }.minutes(13), "(ab)............");
        assert_eq!(Play { acknowledged: Some(5), ..play(1) }.minutes(13), "(ab)..c.........");
        // It waits from when somebody was told.
        assert_eq!(Play { silenced: vec![(0, 2)], ..play(0) }.minutes(8), "ss(ab)..c..");
        // And while nobody is to be told, it does not go on.
        assert_eq!(Play { silenced: vec![(2, 6)], ..play(0) }.minutes(8), "(ab).ssssc.");
        // Who is in the matrix does not hear of what the matrix does not name.
        assert_eq!(Play { severity: Severity::Ticket, ..play(0) }.minutes(5), "a....");
    }

    #[test]
    fn tickets_are_held_and_pages_are_not() {
        let digest = |severity| {
            let mut play = Play { severity, ..Play::default() };
            play.receivers[0].habits.digest_minutes = Some(5);
            play
        };
        assert_eq!(digest(Severity::Page).minutes(7), "a......");
        assert_eq!(digest(Severity::Ticket).minutes(7), ".....a.");
        // It is still held while it is silenced.
        assert_eq!(Play { silenced: vec![(4, 6)], ..digest(Severity::Ticket) }.minutes(8), "....ssa.");
    }

    struct Play {
        receivers: Vec<Receiver>,
        policies: Vec<Policy>,
        severity: Severity,
        silenced: Vec<(i64, i64)>,
        outage: Option<(i64, i64)>,
        depends: f64,
        /// At which minute somebody has it be quiet, and until when.
        snoozed: Option<(i64, i64)>,
        acknowledged: Option<i64>,
    }

    impl Default for Play {
        fn default() -> Play {
            Play {
                receivers: vec![receiver("a", None)],
                policies: vec![],
                severity: Severity::Page,
                silenced: vec![],
                outage: None,
                depends: 1.0,
                snoozed: None,
                acknowledged: None,
            }
        }
    }

    impl Play {
        fn minutes(&self, minutes: i64) -> String {
            let silence = |(from, to): &(i64, i64)| Silence {
                id: "sil_1".to_owned(),
                matchers: parse_matchers(&["tenant_id=tn_a".to_owned()]).unwrap(),
                starts_ms: from * MINUTE_MS,
                ends_ms: to * MINUTE_MS,
                every_ms: None,
            };
            let silences: Vec<Silence> = self.silenced.iter().map(silence).collect();
            let dependence = [Dependence {
                tenant_id: "tn_a".to_owned(),
                route: "/v1".to_owned(),
                provider: "openai".to_owned(),
                share: self.depends,
            }];
            let mut alert = episode("ep_1", self.severity, &[("tenant_id", "tn_a"), ("route", "/v1")]);
            let mut held: Vec<(String, String, i64)> = Vec::new();
            let mut shown = String::new();
            for minute in 0..minutes {
                let now_ms = minute * MINUTE_MS;
                if let Some((at, until)) = self.snoozed
                    && at == minute
                {
                    alert.snoozed_ms = Some(until * MINUTE_MS);
                }
                alert.is_acknowledged |= self.acknowledged == Some(minute);
                let mut episodes = vec![alert.clone()];
                if self.outage.is_some_and(|(from, to)| (from..to).contains(&minute)) {
                    let outage = episode("ep_out", Severity::Page, &[("provider", "openai")]);
                    episodes.push(Episode { told_ms: Some(0), ..outage });
                }
                let due: Vec<Held> = held
                    .iter()
                    .filter(|(.., due_ms)| *due_ms <= now_ms)
                    .map(|(episode_id, receiver_id, _)| Held {
                        episode_id: episode_id.clone(),
                        receiver_id: receiver_id.clone(),
                    })
                    .collect();
                let decision = decide(&Situation {
                    now_ms,
                    episodes: &episodes,
                    silences: &silences,
                    policies: &self.policies,
                    receivers: &self.receivers,
                    dependence: &dependence,
                    held: &due,
                });
                held.extend(decision.holds);
                held.retain(|(episode_id, receiver_id, _)| {
                    let is =
                        |other: &Held| other.episode_id == *episode_id && other.receiver_id == *receiver_id;
                    !decision.released.iter().any(is)
                });
                if let Some(mark) = decision.marks.into_iter().find(|mark| mark.episode_id == "ep_1") {
                    alert.told_ms = mark.told_ms;
                    alert.muted = mark.muted;
                    alert.snoozed_ms = mark.snoozed_ms;
                    alert.escalated = mark.escalated;
                }
                let letter = |telling: &Telling| match telling.again {
                    None => telling.receiver_id.clone(),
                    Some(_) => telling.receiver_id.to_uppercase(),
                };
                let told: String = decision.tellings.iter().map(letter).collect();
                shown += &match (told.len(), &alert.muted) {
                    (0, Some(why)) if why == "snoozed" => "z".to_owned(),
                    (0, Some(why)) => why[..1].to_owned(),
                    (0, None) => ".".to_owned(),
                    (1, _) => told,
                    _ => format!("({told})"),
                };
            }
            shown
        }
    }

    fn episode(id: &str, severity: Severity, labels: &[(&str, &str)]) -> Episode {
        Episode {
            id: id.to_owned(),
            rule_id: "error-share".to_owned(),
            tenant_id: "tn_a".to_owned(),
            severity,
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            is_over: false,
            told_ms: None,
            muted: None,
            snoozed_ms: None,
            is_acknowledged: false,
            escalated: 0,
        }
    }

    fn receiver(id: &str, tenant_id: Option<&str>) -> Receiver {
        let zone = Zone::parse("UTC").unwrap();
        let habits = Habits { group_by: vec!["rule".to_owned()], digest_minutes: None, quiet: None, zone };
        Receiver { id: id.to_owned(), tenant_id: tenant_id.map(str::to_owned), habits }
    }
}
