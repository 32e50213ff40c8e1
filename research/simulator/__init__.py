"""Plays synthetic nights: landscapes whose truth is known, an agent that carries orders out, and a policy.

    draw_landscape(family, seed)            a landscape; families.FAMILIES names the families
    play(policy, landscape, runs, seed)     a SimulatedNight: what the policy saw, and what was true
    measure(night)                          its measures

It exists because a policy's worth can't be seen in one real night: its own noise hides it. Nothing here is imported by
the code that plans real nights.
"""
