/* r, u = sigmoid(W x + U h + b), c = tanh(W x + b + r (U h + b)), h = (1 - u) c + u h, y = C h. */
static void cell(int block, const float *x, float *h, float *y)
{
    float drive[3 * POLICY_MEMORY], recurrent[3 * POLICY_MEMORY];
    affine(x, POLICY_WIDTH, 3 * POLICY_MEMORY, cell_W[block], cell_input_bias[block], drive);
    affine(h, POLICY_MEMORY, 3 * POLICY_MEMORY, cell_U[block], cell_state_bias[block], recurrent);
    for (int n = 0; n < POLICY_MEMORY; n++) {
        const int u = n + POLICY_MEMORY, c = u + POLICY_MEMORY;
        const float reset = sigmoid(drive[n] + recurrent[n]);
        const float update = sigmoid(drive[u] + recurrent[u]);
        const float candidate = tanhf(drive[c] + reset * recurrent[c]);
        h[n] = candidate + update * (h[n] - candidate);
    }
    affine(h, POLICY_MEMORY, POLICY_WIDTH, cell_C[block], 0, y);
}
