//! At which price a provider served, told to callers of every protocol that has a word for it.

use llm::{
    ServiceTier, Usage,
    chat::{Event, FinishReason},
    dialect::{
        chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, responses::Responses,
    },
    front::{Front, Head, Peek},
};

#[test]
fn the_price_a_provider_served_at_is_told_where_there_is_a_word_for_it() {
    let fronts: [(&dyn Front, &str, &str); 6] = [
        (&ChatCompletions, r#""service_tier":"flex""#, r#""service_tier":"priority""#),
        (&Cohere, "", ""),
        (&Converse, r#""serviceTier":{"type":"flex"}"#, r#""serviceTier":{"type":"priority"}"#),
        (&GenerateContent, r#""trafficType":"ON_DEMAND_FLEX""#, r#""trafficType":"ON_DEMAND_PRIORITY""#),
        (&Messages, "", r#""service_tier":"priority""#),
        (&Responses, r#""service_tier":"flex""#, r#""service_tier":"priority""#),
    ];
    let head = Head { id: "1", created: 0, model: "m" };
    let peek = Peek { include_usage: true, ..Peek::default() };
    for (front, flex, priority) in fronts {
        for (tier, word) in [
            (ServiceTier::Flex, flex),
            (ServiceTier::Priority, priority),
            // What is not said counts as standard, so standard is not said.
            (ServiceTier::Standard, ""),
            (ServiceTier::Batch, ""),
        ] {
            let usage = Usage { input_tokens: 1, output_tokens: 1, tier, ..Usage::default() };
            let events = [
                Event::Start { id: None, model: None },
                Event::Text("Hi".to_owned()),
                Event::Finish { reason: FinishReason::Stop, native: "stop".to_owned() },
                Event::Usage(usage),
            ];
            let whole = front.whole(&head, &events).expect("whole");
            let mut streamed = Vec::new();
            let mut writer = front.writer(&head, &peek);
            writer.events(&events, &mut streamed);
            writer.done(&mut streamed);
            for bytes in [whole, streamed] {
                let text = String::from_utf8_lossy(&bytes);
                let is_said =
                    text.contains("ervice_tier") || text.contains("erviceTier") || text.contains("traffic");
                assert_eq!(is_said, !word.is_empty(), "{:?} {tier:?}: {text}", front.api());
                assert!(text.contains(word), "{:?} {tier:?}: {text}", front.api());
            }
        }
    }
}
