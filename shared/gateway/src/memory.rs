//! What an isolate remembers between requests. All of it may be forgotten at any time.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use crate::{auth::Caller, credential::Token, ports::Random, secret::hex};

/// One isolate's memory.
#[derive(Debug, Default)]
pub struct Memory {
    callers: RefCell<HashMap<[u8; 32], Remembered>>,
    /// How often all callers were forgotten.
    forgotten: Cell<u64>,
    tokens: RefCell<HashMap<String, Token>>,
    strangers: Cell<(i64, u32)>,
    seed: Cell<Option<u64>>,
    count: Cell<u64>,
}

/// Who a key belongs to, or that it belongs to nobody, and until when to believe it.
#[derive(Debug, Clone)]
struct Remembered {
    caller: Option<Rc<Caller>>,
    until_ms: i64,
}

impl Memory {
    /// What is known of a key: `None` nothing, `Some(None)` that there is no such key.
    pub fn caller(&self, hash: &[u8; 32], now_ms: i64) -> Option<Option<Rc<Caller>>> {
        let callers = self.callers.borrow();
        let known = callers.get(hash).filter(|known| now_ms < known.until_ms)?;
        Some(known.caller.clone())
    }

    /// What a look-up begins at. What was read before a change must not be remembered after it.
    pub fn epoch(&self) -> u64 {
        self.forgotten.get()
    }

    /// Remembers until `until_ms` what a look-up that began at `epoch` came to.
    pub fn remember(&self, hash: [u8; 32], caller: Option<Rc<Caller>>, until_ms: i64, epoch: u64) {
        if epoch != self.epoch() {
            return;
        }
        let mut callers = self.callers.borrow_mut();
        // A bound, not a policy: an isolate that has seen this many keys starts over.
        if callers.len() >= MAX_CALLERS {
            callers.clear();
        }
        callers.insert(hash, Remembered { caller, until_ms });
    }

    /// Forgets every key, after a change that may concern any of them.
    pub fn forget_callers(&self) {
        self.callers.borrow_mut().clear();
        self.forgotten.set(self.forgotten.get() + 1);
    }

    /// A provider's token that was remembered.
    pub fn token(&self, key: &str) -> Option<Token> {
        self.tokens.borrow().get(key).cloned()
    }

    /// Remembers a provider's token. There is one for each credential of the deployment, so they are few.
    pub fn remember_token(&self, key: String, token: Token) {
        self.tokens.borrow_mut().insert(key, token);
    }

    /// Forgets every provider's token.
    pub fn forget_tokens(&self) {
        self.tokens.borrow_mut().clear();
    }

    /// Whether one more call of an unknown caller is to be recorded this minute. There is a bound, or
    /// anybody could fill the database.
    pub fn may_record_stranger(&self, now_ms: i64) -> bool {
        let minute = now_ms.div_euclid(60_000);
        let (known, count) = self.strangers.get();
        let count = if known == minute { count + 1 } else { 1 };
        self.strangers.set((minute, count));
        count <= MAX_STRANGERS
    }

    /// A new id: the time, so that ids sort, then 64 bits nobody else has.
    pub fn new_id(&self, prefix: &str, now_ms: i64, random: &impl Random) -> String {
        format!("{prefix}{}{}", &hex(&now_ms.to_be_bytes())[4..], hex(&self.unique(random).to_be_bytes()))
    }

    /// 64 bits that no other call of any isolate gets, but for the birthday paradox. Not secret: one
    /// that was seen tells the next.
    pub fn unique(&self, random: &impl Random) -> u64 {
        let seed = self.seed.get().unwrap_or_else(|| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            let seed = u64::from_ne_bytes(bytes);
            self.seed.set(Some(seed));
            seed
        });
        self.count.set(self.count.get() + 1);
        mix(seed.wrapping_add(self.count.get().wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

/// SplitMix64's output function: one to one, so an isolate never repeats itself.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

const MAX_CALLERS: usize = 10_000;

/// Recorded calls of unknown callers, a minute and isolate.
const MAX_STRANGERS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let memory = Memory::default();
        let epoch = memory.epoch();
        memory.forget_callers();
        memory.remember([1; 32], Some(Rc::default()), 10, epoch);
        assert_eq!(memory.caller(&[1; 32], 5), None);
        memory.remember([1; 32], Some(Rc::default()), 10, memory.epoch());
        assert_eq!(memory.caller(&[1; 32], 5), Some(Some(Rc::default())));
        assert_eq!(memory.caller(&[1; 32], 10), None);
    }
}
