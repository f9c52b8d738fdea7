/* The RG-LRU: r, i = sigmoid(W x + b), a = exp(-rate r), h = a h + sqrt(1 - a^2) i B x. */
static void cell(int block, const float *x, float *h, float *y)
{
    float drive[3 * POLICY_MEMORY];
    affine(x, POLICY_WIDTH, 3 * POLICY_MEMORY, cell_B[block], 0, drive);
    const float *gates = drive + POLICY_MEMORY, *bias = cell_gate_bias[block];
    for (int n = 0; n < POLICY_MEMORY; n++) {
        const float forget = sigmoid(gates[n] + bias[n]);
        const float admit = sigmoid(gates[n + POLICY_MEMORY] + bias[n + POLICY_MEMORY]);
        const float log_decay = -cell_rate[block][n] * forget;
        h[n] = expf(log_decay) * h[n] + sqrtf(-expm1f(2.0f * log_decay)) * admit * drive[n];
    }
    affine(h, POLICY_MEMORY, POLICY_WIDTH, cell_C[block], 0, y);
    for (int d = 0; d < POLICY_WIDTH; d++)
        y[d] += cell_D[block][d] * x[d];
}
