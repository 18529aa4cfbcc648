"""The chaos run: everything at once, while one part after another is killed, frozen, cut off or starved of disk.

    python -m benchmarks.chaos                 # 10 minutes of faults
    python -m benchmarks.chaos --minutes 3 --streams sales aircraft     # as CI runs it
    python -m benchmarks.chaos --seed 7        # the same faults again

In the end it proves, from what the producers were told was acknowledged, that nothing was lost and nothing doubled.

``plan``: which faults, as data. ``parts``: what keeps processes running, as systemd would; ``stage``: which ones.
``faults``: what each does. ``signs``: what tells that all is well again. ``proof``: the account; ``report``.
"""
