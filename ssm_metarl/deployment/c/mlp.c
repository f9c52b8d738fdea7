/* y = C tanh(W x + b) + D x; it remembers nothing. */
static void cell(int block, const float *x, float *h, float *y)
{
    float hidden[POLICY_HIDDEN];
    (void)h;
    affine(x, POLICY_WIDTH, POLICY_HIDDEN, cell_W[block], cell_bias[block], hidden);
    for (int n = 0; n < POLICY_HIDDEN; n++)
        hidden[n] = tanhf(hidden[n]);
    affine(hidden, POLICY_HIDDEN, POLICY_WIDTH, cell_C[block], 0, y);
    for (int d = 0; d < POLICY_WIDTH; d++)
        y[d] += cell_D[block][d] * x[d];
}
