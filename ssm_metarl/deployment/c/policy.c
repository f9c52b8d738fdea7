
/* What is carried from one step to the next. */
typedef struct {
    float memory[POLICY_BLOCKS][POLICY_MEMORY + 1]; /* the last one is not used */
    float action[POLICY_OUTPUTS];                   /* the previous one, as the network sees it */
} policy_state;

/* C = A x + b; the weight is laid out input by input. */
static void affine(const float *restrict x, int inputs, int outputs, const float *restrict weight,
                   const float *restrict bias, float *restrict y)
{
    for (int j = 0; j < outputs; j++)
        y[j] = bias ? bias[j] : 0.0f;
    for (int i = 0; i < inputs; i++)
        for (int j = 0; j < outputs; j++)
            y[j] += x[i] * weight[i * outputs + j];
}

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static inline float bounded(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/*@CELL@*/

/* Before the first step ever, and wherever the agent is to know of nothing before. */
void policy_reset(policy_state *state)
{
    memset(state, 0, sizeof *state);
}

static void inputs_of(const float *observation, float reward, int episode_start,
                      const policy_state *state, float *inputs)
{
    for (int i = 0; i < POLICY_OBSERVATIONS; i++) {
        inputs[i] = observation[i] - observation_offset[i];
#if POLICY_CLIP
        inputs[i] = bounded(inputs[i], -observation_bound[i], observation_bound[i]);
#endif
    }
#if POLICY_TRIAL_INPUTS
    float *more = inputs + POLICY_OBSERVATIONS;
    memcpy(more, state->action, sizeof state->action);
    more[POLICY_OUTPUTS] =
        bounded(reward / POLICY_REWARD_SCALE, -POLICY_REWARD_BOUND, POLICY_REWARD_BOUND);
    more[POLICY_OUTPUTS + 1] = episode_start ? 1.0f : 0.0f;
#else
    (void)reward, (void)episode_start, (void)state;
#endif
}

/* Features of a step, from which the action is read; the memory advances. */
static void features_of(const float *inputs, policy_state *state, float *x)
{
    float normed[POLICY_WIDTH], y[POLICY_WIDTH];
    affine(inputs, POLICY_INPUTS, POLICY_WIDTH, encoder_weight, encoder_bias, x);
    for (int d = 0; d < POLICY_WIDTH; d++)
        x[d] = tanhf(x[d]);
    for (int block = 0; block < POLICY_BLOCKS; block++) {
        memcpy(normed, x, sizeof normed);
#if POLICY_NORM
        float square = 0.0f;
        for (int d = 0; d < POLICY_WIDTH; d++)
            square += x[d] * x[d];
        const float scale = 1.0f / sqrtf(square / POLICY_WIDTH + 1e-6f);
        for (int d = 0; d < POLICY_WIDTH; d++)
            normed[d] *= scale * norm_weight[block][d];
#endif
        cell(block, normed, state->memory[block], y);
        for (int d = 0; d < POLICY_WIDTH; d++)
            x[d] += y[d] * sigmoid(y[d]);
    }
}

/*@ACTION@*/

/* Act once.
 *
 * observation    POLICY_OBSERVATIONS numbers in the environment's units
 * reward         of the previous action
 * episode_start  whether the observation is the first of an episode
 * noise          POLICY_OUTPUTS random numbers, for an agent that samples (POLICY_SAMPLE): standard
 *                normal ones, or for choices standard Gumbel ones, -log(-log(u))
 * state          from policy_reset or the step before; it advances
 * action         POLICY_ACTIONS numbers, as the environment takes them
 */
void policy_step(const float *observation, float reward, int episode_start,
#if POLICY_SAMPLE
                 const float *noise,
#endif
                 policy_state *state, policy_action *action)
{
    float inputs[POLICY_INPUTS], features[POLICY_WIDTH], outputs[POLICY_OUTPUTS];
#if POLICY_FORGETS
    if (episode_start) {
        policy_reset(state);
        reward = 0.0f;
    }
#endif
    inputs_of(observation, reward, episode_start, state, inputs);
    features_of(inputs, state, features);
    affine(features, POLICY_WIDTH, POLICY_OUTPUTS, action_weight, action_bias, outputs);
#if POLICY_SAMPLE
    for (int a = 0; a < POLICY_OUTPUTS; a++)
        outputs[a] += noise_scale[a] * noise[a];
#endif
    choose(outputs, state->action, action);
}
