// What LiteLLM's flat prices make of these calls. Run from the repository's root, with that table
// (see ../data/NOTICE.md):
//
//     node shared/llm/tests/prices_litellm.mjs FILE > shared/llm/tests/prices_litellm.json
import { readFileSync } from 'node:fs'

// Our name, LiteLLM's key, and what was used; `tier` is how it names the service tier in its fields.
const cases = `
openai/gpt-4.1                              gpt-4.1                                          input=1000 read=200 output=500
openai/gpt-4.1                              gpt-4.1                                          input=1000 output=500 tier=batches
openai/gpt-4.1-mini                         gpt-4.1-mini                                     input=1000 read=200 output=500 tier=priority
openai/gpt-5                                gpt-5                                            input=1000 read=200 output=500 tier=flex
openai/gpt-5                                gpt-5                                            input=1000 read=200 output=500 tier=batches
openai/gpt-5                                gpt-5                                            input=1000 read=200 output=500 tier=priority
openai/gpt-5.4                              gpt-5.4                                          input=100000 read=20000 output=500 tier=batches
openai/gpt-5.4                              gpt-5.4                                          input=100000 read=20000 output=500 tier=flex
openai/o4-mini                              o4-mini                                          input=1000 output=500 tier=flex
openai/text-embedding-3-small               text-embedding-3-small                           input=8191
openai/text-embedding-3-small               text-embedding-3-small                           input=8191 tier=batches
openai/tts-1                                tts-1                                            characters=4096
openai/tts-1-hd                             tts-1-hd                                         characters=10
openai/gpt-4o-mini-tts                      gpt-4o-mini-tts                                  input=40 output=500 speech=500
openai/whisper-1                            whisper-1                                        seconds=61
openai/gpt-image-2                          gpt-image-2                                      input=1000 image=900 output=4000 picture=4000
azure/gpt-realtime-whisper                  azure/gpt-realtime-whisper                       seconds=60
azure/tts-1-hd                              azure/tts-1-hd                                   characters=1000
azure/cohere-rerank-v4.0-pro                azure_ai/cohere-rerank-v4.0-pro                  units=3
azure/flux-1.1-pro                          azure_ai/FLUX-1.1-pro                            images=2
anthropic/claude-haiku-4-5                  claude-haiku-4-5-20251001                        input=1000 write=100 read=200 output=500 tier=batches
anthropic/claude-haiku-5-5                  claude-haiku-5-5                                 input=90000 write=100 read=200 output=500
anthropic/claude-haiku-5-5                  claude-haiku-5-5                                 input=100001 write=100 read=200 output=500 above=100k
anthropic/claude-haiku-5-5                  claude-haiku-5-5                                 input=1000 output=500 searches=2
gemini/gemini-2.5-flash                     gemini/gemini-2.5-flash                          input=1000 output=500 tier=batches
gemini/gemini-2.5-flash                     gemini/gemini-2.5-flash                          input=1000 output=500 searches=1
gemini/gemini-2.5-pro                       gemini/gemini-2.5-pro                            input=1000 output=500 tier=priority
gemini/gemini-embedding-001                 gemini/gemini-embedding-001                      input=2048
gemini/gemini-2.5-flash-preview-tts         gemini/gemini-2.5-flash-preview-tts              input=20 output=900 speech=900
dashscope/qwen-image-2.0                    dashscope/qwen-image-2.0                         images=4
vertex/semantic-ranker-default-004          vertex_ai/semantic-ranker-default-004            units=1
vertex/deepseek-ai/deepseek-v3.2-maas       vertex_ai/deepseek-ai/deepseek-v3.2-maas         input=1000 output=500
bedrock/amazon.nova-pro-v1:0                amazon.nova-pro-v1:0                             input=1000 output=500
bedrock/amazon.nova-pro-v1:0                amazon.nova-pro-v1:0                             input=1000 output=500 tier=batches
bedrock/cohere.rerank-v3-5:0                cohere.rerank-v3-5:0                             units=2
bedrock/amazon.titan-embed-text-v2:0        amazon.titan-embed-text-v2:0                     input=512
bedrock/stability.sd3-5-large-v1:0          stability.sd3-5-large-v1:0                       images=1
cohere/rerank-v3.5                          rerank-v3.5                                      units=2
cohere/rerank-v5.0-pro                      rerank-v5.0-pro                                  input=700
cohere/embed-v4.0                           cohere/embed-v4.0                                input=4096
voyage/rerank-2.5                           voyage/rerank-2.5                                input=12345
voyage/voyage-multilingual-2                voyage/voyage-multilingual-2                     input=12345
groq/canopylabs/orpheus-v1-english          groq/canopylabs/orpheus-v1-english               characters=250
groq/whisper-large-v3-turbo                 groq/whisper-large-v3-turbo                      seconds=10
mistral/mistral-embed                       mistral/mistral-embed                            input=1000
mistral/voxtral-mini-tts-2603               mistral/voxtral-mini-tts-2603                    characters=999
mistral/voxtral-small-transcribe-3          mistral/voxtral-small-transcribe-3               seconds=90
xai/grok-imagine-image-quality              xai/grok-imagine-image-quality                   pictures=3
xai/grok-4.5                                xai/grok-4.5                                     input=1000 output=500
dashscope/qwen3-coder-plus                  dashscope/qwen3-coder-plus                       input=32000 read=1000 output=500 step=0
dashscope/qwen3-coder-plus                  dashscope/qwen3-coder-plus                       input=32001 read=1000 output=500 step=1
dashscope/qwen3-coder-plus                  dashscope/qwen3-coder-plus                       input=200000 read=1000 output=500 step=2
dashscope/qwen3-coder-plus                  dashscope/qwen3-coder-plus                       input=300000 read=1000 output=500 step=3
dashscope/qwen3-tts-flash                   dashscope/qwen3-tts-flash                        characters=300
deepinfra/openai/gpt-oss-120b-Ultra         deepinfra/openai/gpt-oss-120b-Ultra              input=1000 output=500
sambanova/DeepSeek-R1                       sambanova/DeepSeek-R1                            input=1000 output=500
together/Qwen/Qwen2.5-72B-Instruct          together_ai/Qwen/Qwen2.5-72B-Instruct            input=1000 output=500
fireworks/accounts/fireworks/models/qwq-32b fireworks_ai/accounts/fireworks/models/qwq-32b   input=1000 output=500
nebius/BAAI/bge-multilingual-gemma2         nebius/BAAI/bge-multilingual-gemma2              input=1000000
workers-ai/@cf/openai/whisper               cloudflare/@cf/openai/whisper                    seconds=600
`

const table = JSON.parse(readFileSync(process.argv[2], 'utf8'))

function price(line) {
  const [ours, key, ...words] = line.split(/\s+/)
  const used = Object.fromEntries(words.map((word) => word.split('=')))
  const { tier, above, step, ...counts } = used
  const entry = step === undefined ? table[key] : table[key].tiered_pricing[Number(step)]
  const suffix = `${above ? `_above_${above}_tokens` : ''}${tier ? `_${tier}` : ''}`
  const n = (name) => Number(counts[name] ?? 0)
  if (!table[key]) throw new Error(`there is no ${key}`)
  const search = Object.values(table[key].search_context_cost_per_query ?? {})[0] ?? 0
  const cost = (count, name) => {
    if (!count) return 0
    if (!entry[`${name}${suffix}`]) throw new Error(`${key} has no ${name}${suffix}`)
    return count * entry[`${name}${suffix}`]
  }
  const usd =
    cost(n('input') - n('read') - n('write') - n('image'), 'input_cost_per_token') +
    cost(n('read'), 'cache_read_input_token_cost') +
    cost(n('write'), 'cache_creation_input_token_cost') +
    cost(n('image'), 'input_cost_per_image_token') +
    cost(n('output') - n('speech') - n('picture'), 'output_cost_per_token') +
    cost(n('speech'), 'output_cost_per_audio_token') +
    cost(n('picture'), 'output_cost_per_image_token') +
    cost(n('characters'), 'input_cost_per_character') +
    cost(n('seconds'), 'input_cost_per_second') +
    cost(n('units'), 'input_cost_per_query') +
    cost(n('images'), 'output_cost_per_image') +
    cost(n('pictures'), 'input_cost_per_image') +
    n('searches') * search
  const slash = ours.indexOf('/')
  const usage = Object.fromEntries(Object.entries(counts).map(([kind, count]) => [kind === 'pictures' ? 'images' : kind, Number(count)]))
  return {
    provider: ours.slice(0, slash),
    model: ours.slice(slash + 1),
    tier: tier ?? 'standard',
    usage,
    microusd: Math.floor(Number((usd * 1e6).toFixed(6)) + 0.5),
  }
}

const priced = cases.trim().split('\n').map(price)
console.log(`[\n${priced.map((one) => JSON.stringify(one)).join(',\n')}\n]`)
