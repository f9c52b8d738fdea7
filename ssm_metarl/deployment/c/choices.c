/* The largest output of each choice; `acted` becomes 1 there, else 0. */
static void choose(const float *outputs, float *acted, policy_action *action)
{
    for (int f = 0; f < POLICY_ACTIONS; f++) {
        int best = 0;
        for (int a = 0; a < action_choices[f]; a++) {
            acted[a] = 0.0f;
            if (outputs[a] > outputs[best])
                best = a;
        }
        acted[best] = 1.0f;
        action[f] = (policy_action)(best + action_start[f]);
        outputs += action_choices[f];
        acted += action_choices[f];
    }
}
