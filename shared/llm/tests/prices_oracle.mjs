// What an independent price calculator says these calls cost. Run from the repository's root:
//
//     node shared/llm/tests/prices_oracle.mjs            says whether prices_oracle.json is what the calculator says
//     node shared/llm/tests/prices_oracle.mjs --write    writes it
//
// It needs npm's @pydantic/genai-prices in the version the table was made from (see ../data/NOTICE.md).
import { readFileSync, writeFileSync } from 'node:fs'

import { calcPrice } from '@pydantic/genai-prices'

// One call a line: provider, model, when, and what it used. `input` and `output` are totals.
const cases = `
openai      gpt-4o                                     2026-11-23T12:00:00Z input=1000 output=500
openai      gpt-4o                                     2026-11-23T12:00:00Z input=12345 read=6789 output=1234 reasoning=0
openai      gpt-4o-2024-11-20                          2026-11-23T12:00:00Z input=1 output=1
openai      gpt-4o-20241120                            2026-11-23T12:00:00Z input=77 output=33
openai      GPT-4O-2024-05-13                          2026-11-23T12:00:00Z input=1000 read=400 output=10
openai      gpt-4o-mini                                2026-11-23T12:00:00Z input=3 output=0
openai      gpt-4o-mini                                2026-11-23T12:00:00Z input=7 output=1
openai      gpt-4.1-nano                               2026-11-23T12:00:00Z input=999999 read=1 output=99999
openai      gpt-5                                      2026-11-23T12:00:00Z input=2048 read=1024 output=800 reasoning=640
openai      gpt-5-nano-2025-08-07                      2026-11-23T12:00:00Z input=10 output=10
openai      o3                                         2025-06-09T23:59:59.999Z input=5000 output=2000 reasoning=1500
openai      o3                                         2025-06-10T00:00:00Z input=5000 output=2000 reasoning=1500
openai      gpt-5.4                                    2026-11-23T12:00:00Z input=271999 read=1000 output=10
openai      gpt-5.4                                    2026-11-23T12:00:00Z input=272000 read=1000 output=10
openai      gpt-5.6-luna                               2026-07-29T12:00:00Z input=300000 write=20000 output=1000
openai      gpt-5.6-luna                               2026-07-30T12:00:00Z input=300000 write=20000 output=1000
openai      gpt-5.6-sol-2026-07-01                     2026-08-21T00:00:00Z input=1000 read=10 write=20 output=30
openai      gpt-6-sol                                  2026-11-23T12:00:00Z input=272000 output=100
openai      gpt-6-sol                                  2026-11-23T12:00:00Z input=272001 output=100
openai      gpt-audio                                  2026-11-23T12:00:00Z input=1000 audio=800 output=500 speech=450
openai      gpt-4o-realtime-preview-2025-06-03         2026-11-23T12:00:00Z input=1000 audio=900 output=400 speech=300
openai      gpt-4o-transcribe                          2026-11-23T12:00:00Z input=5000 audio=4900 output=200
openai      text-embedding-3-small                     2026-11-23T12:00:00Z input=8191
openai      text-embedding-3-large                     2026-11-23T12:00:00Z input=123457
openai      ft:gpt-4o-2024-08-06:acme::abc             2026-11-23T12:00:00Z input=1000 output=1000
openai      gpt-9-imaginary                            2026-11-23T12:00:00Z input=1000 output=1000
anthropic   claude-sonnet-4-5-20250929                 2026-11-23T12:00:00Z input=1210 read=1000 write=200 output=50
anthropic   claude-sonnet-4-5                          2026-11-23T12:00:00Z input=200000 read=100000 write=50000 write1h=25000 output=1000
anthropic   claude-sonnet-4-5                          2026-11-23T12:00:00Z input=200001 read=100000 write=50000 write1h=25000 output=1000
anthropic   claude-sonnet-4-6                          2026-03-12T23:59:59.999Z input=250000 read=1 output=1000
anthropic   claude-sonnet-4-6                          2026-03-13T00:00:00Z input=250000 read=1 output=1000
anthropic   claude-opus-4-6                            2026-02-20T08:00:00Z input=210000 write1h=7 output=3
anthropic   claude-3-5-haiku-20241022                  2026-11-23T12:00:00Z input=1000 read=3 write=5 write1h=7 output=11
anthropic   claude-haiku-4-5                           2026-11-23T12:00:00Z input=5 output=1
anthropic   claude-opus-5-20260601                     2026-11-23T12:00:00Z input=4000 read=2000 output=900 reasoning=700
anthropic   claude-fable-5-1                           2026-11-23T12:00:00Z input=4000 read=2001 output=900
gemini      gemini-2.5-flash                           2026-11-23T12:00:00Z input=10000 audio=4000 output=100 reasoning=60
gemini      gemini-2.5-flash                           2026-11-23T12:00:00Z input=10000 read=4000 output=100
gemini      gemini-2.5-pro                             2026-11-23T12:00:00Z input=200000 read=50000 output=8000
gemini      gemini-2.5-pro-preview-06-05               2026-11-23T12:00:00Z input=200001 read=50000 output=8000
gemini      gemini-2.5-pro-preview-tts                 2026-11-23T12:00:00Z input=100 output=2000
gemini      gemini-1.5-pro-002                         2026-11-23T12:00:00Z input=128001 output=5
gemini      gemini-3.5-flash-001                       2026-11-23T12:00:00Z input=128001 output=5
gemini      gemini-3.6-flash                           2026-12-31T23:59:59.999Z input=1000 read=500 output=250
gemini      gemini-3.6-flash                           2027-01-01T00:00:00Z input=1000 read=500 output=250
gemini      gemini-3.1-flash-live-preview              2026-11-23T12:00:00Z input=1000 audio=1000 output=600 speech=600
vertex      claude-sonnet-4-5@20250929                 2026-11-23T12:00:00Z input=200001 read=7 write=9 output=11
vertex      claude-3-opus@20240229                     2026-11-23T12:00:00Z input=10 output=11
groq        llama-3.3-70b-versatile                    2026-11-23T12:00:00Z input=3141 output=592
groq        openai/gpt-oss-120b                        2026-11-23T12:00:00Z input=3141 read=5 output=592 reasoning=300
deepseek    deepseek-chat                              2025-07-01T16:29:59.999Z input=1000000 read=1000 output=1000
deepseek    deepseek-chat                              2025-07-01T16:30:00Z input=1000000 read=1000 output=1000
deepseek    deepseek-reasoner                          2025-07-01T00:30:00Z input=100 output=1000 reasoning=900
deepseek    deepseek-v4-flash                          2026-08-16T12:00:00Z input=100000 read=90000 output=1000
deepseek    deepseek-v4-flash                          2026-08-17T12:00:00Z input=100000 read=90000 output=1000
deepseek    deepseek-v4-pro                            2026-08-30T01:00:00Z input=100000 read=90001 output=1000
deepseek    deepseek-v4-pro                            2026-08-30T05:59:59.999Z input=100000 read=90001 output=1000
deepseek    deepseek-v4-pro                            2026-08-30T06:00:00Z input=100000 read=90001 output=1000
mistral     mistral-large-latest                       2026-11-23T12:00:00Z input=501 output=502
mistral     mistral-medium-latest                      2026-06-15T12:00:00Z input=501 read=100 output=502
mistral     mistral-medium-latest                      2026-06-16T12:00:00Z input=501 read=100 output=502
mistral     ministral-8b-latest                        2025-12-01T12:00:00Z input=501 output=502
xai         grok-4.3-20260501                          2026-11-23T12:00:00Z input=250000 read=50 output=70
xai         grok-code-fast-1                           2026-11-23T12:00:00Z input=25000 read=50 output=70
perplexity  sonar                                      2026-11-23T12:00:00Z input=20 output=300
perplexity  sonar-pro                                  2026-11-23T12:00:00Z input=20 output=300
perplexity  sonar-deep-research                        2026-11-23T12:00:00Z input=20 output=9000 reasoning=7000
together    meta-llama/Llama-3.3-70B-Instruct-Turbo    2026-11-23T12:00:00Z input=1234 output=5678
fireworks   accounts/fireworks/models/gpt-oss-120b     2026-11-23T12:00:00Z input=1234 read=1000 output=5678
openrouter  anthropic/claude-sonnet-4.5                2026-11-23T12:00:00Z input=1234 read=100 write=200 output=5678
openrouter  google/gemma-4-31b-it                      2026-08-26T12:00:00Z input=1234567 read=100 output=5678
openrouter  google/gemma-4-31b-it                      2026-08-27T12:00:00Z input=1234567 read=100 output=5678
openrouter  google/gemini-3.5-flash                    2026-11-23T12:00:00Z input=100000 write=90000 output=5
openrouter  openai/gpt-oss-20b:free                    2026-11-23T12:00:00Z input=1234 output=5678
workers-ai  @cf/meta/llama-3.3-70b-instruct-fp8-fast   2026-11-23T12:00:00Z input=4096 output=256
workers-ai  @cf/openai/gpt-oss-120b                    2026-11-23T12:00:00Z input=4096 output=256
cohere      command-r-plus-08-2024                     2026-11-23T12:00:00Z input=4096 output=256
cohere      embed-v4.0                                 2026-11-23T12:00:00Z input=4096
cerebras    gpt-oss-120b                               2026-11-23T12:00:00Z input=4096 output=256
bedrock     us.anthropic.claude-sonnet-4-5-20250929-v1:0     2026-11-23T12:00:00Z input=200001 read=9 write=8 output=7
bedrock     global.anthropic.claude-sonnet-4-5-20250929-v1:0 2026-11-23T12:00:00Z input=2001 read=9 write=8 write1h=7 output=7
bedrock     anthropic.claude-3-haiku-20240307-v1:0     2026-11-23T12:00:00Z input=2001 output=7
bedrock     us.openai.gpt-5.6-sol                      2026-08-21T00:00:00Z input=272000 output=7
bedrock     amazon.nova-pro-v1:0                       2026-11-23T12:00:00Z input=2001 read=1000 output=7
azure       gpt-4o                                     2026-11-23T12:00:00Z input=2001 read=1000 output=7
azure       o4-mini-2025-04-16                         2026-11-23T12:00:00Z input=2001 read=1000 output=7
azure       claude-opus-4-5                            2026-11-23T12:00:00Z input=2001 read=1000 output=7
azure       deepseek-v4-pro                            2026-08-30T02:00:00Z input=2001 read=1000 output=7
moonshot    kimi-k2.6                                  2026-11-23T12:00:00Z input=2001 read=1000 output=7
voyage      voyage-3-large                             2026-11-23T12:00:00Z input=2001
openai      gpt-image-1                                2026-11-23T12:00:00Z input=1500 image=1200 output=4160
openai      gpt-image-1                                2026-11-23T12:00:00Z input=1500 image=1200 read=700 readimage=600 output=4160 picture=4160
openai      gpt-image-1-mini                           2026-11-23T12:00:00Z input=40 output=1056 picture=1056
openai      gpt-image-1.5                              2026-11-23T12:00:00Z input=900 image=800 output=2300 picture=2000
openai      gpt-realtime                               2026-11-23T12:00:00Z input=3000 audio=2000 image=500 read=900 readaudio=640 readimage=100 output=800 speech=700
openai      gpt-realtime-mini                          2026-11-23T12:00:00Z input=3000 audio=2500 read=640 readaudio=640 output=800 speech=700
openai      gpt-4o-realtime-preview                    2026-11-23T12:00:00Z input=1000 audio=900 read=300 readaudio=200 output=400 speech=300
openai      gpt-5.1                                    2026-11-23T12:00:00Z input=1000 read=128 output=400 websearch=3 filesearch=2
openai      o4-mini                                    2026-11-23T12:00:00Z input=1000 output=400 reasoning=300 filesearch=7
anthropic   claude-sonnet-4-5                          2026-11-23T12:00:00Z input=210000 read=9000 output=400 websearch=5
anthropic   claude-opus-5-5                            2026-11-23T12:00:00Z input=1000 output=400 websearch=1
gemini      gemini-2.5-flash                           2026-11-23T12:00:00Z input=10000 audio=4000 read=3000 readaudio=1000 output=100
gemini      gemini-3.1-flash-lite                      2026-11-23T12:00:00Z input=10000 audio=4000 read=3000 readaudio=3000 output=100
gemini      gemini-2.5-flash-image                     2026-11-23T12:00:00Z input=260 output=1300 picture=1290
gemini      gemini-3-pro-image-preview                 2026-11-23T12:00:00Z input=560 output=1400 picture=1120 reasoning=200
gemini      gemini-3.1-flash-live-preview              2026-11-23T12:00:00Z input=5000 audio=1000 image=700 video=2000 output=600 speech=500
gemini      gemini-embedding-2                         2026-11-23T12:00:00Z input=5000 audio=1000 image=700 video=2000
gemini      gemini-omni-flash-preview                  2026-11-23T12:00:00Z input=100 output=9000 film=8800
gemini      gemini-3.7-flash                           2026-12-31T23:59:59.999Z input=1000 read=500 output=250
gemini      gemini-3.7-flash                           2027-01-01T00:00:00Z input=1000 read=500 output=250
openai      whisper-1                                  2026-11-23T12:00:00Z seconds=61.5
groq        whisper-large-v3                           2026-11-23T12:00:00Z seconds=3599.999
groq        whisper-large-v3-turbo                     2026-11-23T12:00:00Z seconds=10
mistral     voxtral-mini-2602                          2026-11-23T12:00:00Z seconds=7200
xai         grok-voice-latest                          2026-11-23T12:00:00Z seconds=90
perplexity  sonar-deep-research                        2026-11-23T12:00:00Z input=20 output=9000 reasoning=7000 websearch=18
openrouter  openai/gpt-6-luna:batch                    2026-11-23T12:00:00Z input=272001 read=1000 output=70 websearch=1
deepinfra   no-such-model                              2026-11-23T12:00:00Z input=1 output=1
`

const theirName = {
  bedrock: 'aws',
  gemini: 'google',
  moonshot: 'moonshotai',
  vertex: 'google',
  voyage: 'voyageai',
  'workers-ai': 'cloudflare',
  xai: 'x-ai',
}

// Our words and theirs, which name what is both cached and of a modality, too.
const counts = {
  input: 'input_tokens',
  read: 'cache_read_tokens',
  write: 'cache_write_tokens',
  write1h: 'cache_write_1h_tokens',
  audio: 'input_audio_tokens',
  image: 'input_image_tokens',
  video: 'input_video_tokens',
  readaudio: 'cache_audio_read_tokens',
  readimage: 'cache_image_read_tokens',
  output: 'output_tokens',
  reasoning: 'output_reasoning_tokens',
  speech: 'output_audio_tokens',
  picture: 'output_image_tokens',
  film: 'output_video_tokens',
  websearch: 'web_searches',
  filesearch: 'storage_searches',
  seconds: 'audio_seconds',
}

function price(line) {
  const [provider, model, at, ...words] = line.split(/\s+/)
  const used = Object.fromEntries(words.map((word) => word.split('=')).map(([kind, count]) => [kind, Number(count)]))
  const usage = Object.fromEntries(Object.entries(counts).map(([kind, theirs]) => [theirs, used[kind] ?? 0]))
  usage.cache_write_tokens += usage.cache_write_1h_tokens
  const result = calcPrice(usage, model, { providerId: theirName[provider] ?? provider, timestamp: new Date(at) })
  // Their sum is a float: what lies a millionth below a half is a half.
  const microusd = result && Math.floor(Number((result.total_price * 1e6).toFixed(6)) + 0.5)
  return { provider, model, at, at_ms: Date.parse(at), usage: used, microusd }
}

const priced = cases.trim().split('\n').map(price)
const text = `[\n${priced.map((one) => JSON.stringify(one)).join(',\n')}\n]\n`
const file = new URL('prices_oracle.json', import.meta.url)
if (process.argv.includes('--write')) {
  writeFileSync(file, text)
} else if (readFileSync(file, 'utf8') !== text) {
  console.error('prices_oracle.json is not what the calculator says: run this with --write, and look at the difference.')
  process.exitCode = 1
}
