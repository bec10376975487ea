// What Teams and Discord get, against what their makers publish: the parser of Adaptive Cards, and the builders of
// Discord's messages. A line each of what `cargo run -p hypergate-tests --example notices` writes.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { EmbedBuilder, embedLength } from '@discordjs/builders';

// Its modules for browsers name each other in a way Node does not follow.
const cards = createRequire(import.meta.url)('adaptivecards/dist/adaptivecards.js');
const file = new URL('../../target/oracles/notices.jsonl', import.meta.url);
const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
const of = (kind) => lines.filter((line) => line.kind === kind).map((line) => [line.case, JSON.parse(line.body)]);

/** Every object with a `type` in a card. */
function elements(value) {
  if (Array.isArray(value)) return value.flatMap(elements);
  if (value === null || typeof value !== 'object') return [];
  return [...('type' in value ? [value] : []), ...Object.values(value).flatMap(elements)];
}

test('cards are Adaptive Cards 1.2', () => {
  assert.ok(of('teams').length > 5);
  for (const [name, body] of of('teams')) {
    const [attachment] = body.attachments;
    assert.equal(attachment.contentType, 'application/vnd.microsoft.card.adaptive');
    const context = new cards.SerializationContext(cards.Versions.v1_2);
    const card = new cards.AdaptiveCard();
    card.parse(attachment.content, context);
    const said = Array.from({ length: context.eventCount }, (_, at) => context.getEventAt(at).message);
    assert.deepEqual(said, [], name);
    assert.deepEqual(card.validateProperties().validationEvents, [], name);
    assert.equal(card.getItemCount(), attachment.content.body.length, name);
    // What the parser does not know it keeps to itself: each element has only what its schema has.
    for (const element of elements(attachment.content.body)) {
      const kind = { RichTextBlock: cards.RichTextBlock, TextRun: cards.TextRun }[element.type];
      const schema = new kind().getSchema();
      const known = new Set(Array.from({ length: schema.getCount() }, (_, at) => schema.getItemAt(at).name));
      for (const field of Object.keys(element)) {
        assert.ok(known.has(field) || field === 'type' || field === 'inlines', `${name}: ${element.type}.${field}`);
      }
    }
    assert.ok(JSON.stringify(body).length <= 14_000, name);
  }
});

test('embeds are what Discord builds', () => {
  assert.ok(of('discord').length > 5);
  for (const [name, body] of of('discord')) {
    assert.deepEqual(body.allowed_mentions, { parse: [] });
    const [embed, ...others] = body.embeds;
    assert.equal(others.length, 0);
    // Each setter checks lengths and types.
    const built = new EmbedBuilder()
      .setTitle(embed.title)
      .setDescription(embed.description)
      .setColor(embed.color)
      .setTimestamp(new Date(embed.timestamp))
      .setFields(...embed.fields);
    if (embed.footer) built.setFooter(embed.footer);
    assert.ok(embedLength(built.data) <= 6_000, name);
    const { timestamp, ...rest } = JSON.parse(JSON.stringify(built));
    const { timestamp: written, ...expected } = embed;
    assert.deepEqual(rest, expected, name);
    assert.equal(new Date(timestamp).getTime(), new Date(written).getTime());
  }
});
