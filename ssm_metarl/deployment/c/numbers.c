/* The outputs in the environment's units and bounds; `acted` is what they were before. */
static void choose(const float *outputs, float *acted, policy_action *action)
{
    for (int a = 0; a < POLICY_ACTIONS; a++) {
        float value = acted[a] = outputs[a];
        if (action_scaled[a]) {
            const float low = unit_low[a], width = unit_high[a] - low;
            value = low + width * 0.5f * (bounded(value, -1.0f, 1.0f) + 1.0f);
        }
        policy_exact exact = value;
#if POLICY_INTEGER
        exact = rint(exact);
#endif
        exact = exact < action_low[a] ? action_low[a] : exact;
        action[a] = (policy_action)(exact > action_high[a] ? action_high[a] : exact);
    }
}
