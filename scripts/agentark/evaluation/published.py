"""Published figures of other process reward models, which stand beside ours."""

PROCESSBENCH_F1 = {
    "Math-Shepherd-PRM-7B": {"gsm8k": 47.9, "math": 29.5, "olympiadbench": 24.8, "omnimath": 23.8},
    "RLHFlow-PRM-Mistral-8B": {"gsm8k": 50.4, "math": 33.4, "olympiadbench": 13.8, "omnimath": 15.8},
    "Skywork-PRM-7B": {"gsm8k": 70.8, "math": 53.6, "olympiadbench": 22.9, "omnimath": 21.0},
    "Qwen2.5-Math-7B-PRM800K": {"gsm8k": 68.2, "math": 62.6, "olympiadbench": 50.7, "omnimath": 44.3},
    "Qwen2.5-Math-1.5B-Instruct-PRM-0.2": {"gsm8k": 36.6, "math": 49.6, "olympiadbench": 36.1, "omnimath": 37.0},
    "Qwen2.5-Math-7B-Instruct-PRM-0.2": {"gsm8k": 70.8, "math": 62.6, "olympiadbench": 47.1, "omnimath": 48.0},
    "Qwen2.5-Math-PRM-7B": {"gsm8k": 82.4, "math": 77.6, "olympiadbench": 67.5, "omnimath": 66.3},
    "GPT-4o as a critic": {"gsm8k": 61.9, "math": 53.9, "olympiadbench": 48.3, "omnimath": 44.6},
}
"""Percent. Source: ProcessBench (arXiv 2412.06559), table 3; the two `-PRM-0.2`: their model cards at HuggingFaceH4;
Qwen2.5-Math-PRM: The Lessons of Developing Process Reward Models (arXiv 2501.07301), table 7."""
