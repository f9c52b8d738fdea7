/* h = lambda h + B x, y = C h + D x; the state is of complex numbers, as (real, imaginary). */
static void cell(int block, const float *x, float *h, float *y)
{
    float drive[POLICY_MEMORY];
    const float *lambda = cell_rotation[block];
    affine(x, POLICY_WIDTH, POLICY_MEMORY, cell_B[block], 0, drive);
    for (int n = 0; n < POLICY_MEMORY; n += 2) {
        const float real = h[n], imaginary = h[n + 1];
        h[n] = lambda[n] * real - lambda[n + 1] * imaginary + drive[n];
        h[n + 1] = lambda[n + 1] * real + lambda[n] * imaginary + drive[n + 1];
    }
    affine(h, POLICY_MEMORY, POLICY_WIDTH, cell_C[block], 0, y);
    for (int d = 0; d < POLICY_WIDTH; d++)
        y[d] += cell_D[block][d] * x[d];
}
