import pytest
import torch
from transformers import GenerationConfig

from agentark.engines.local_models import open_model
from agentark.training import rollouts
from agentark.training.logprobs import token_logps

pytestmark = pytest.mark.usefixtures("float32")

QUESTIONS = ["What is 1 + 5?", "What is 12 + 34 - 5? Reason step by step", "What is 1 + 5?"]


def rendered(tokenizer, question: str) -> list[int]:
    asked = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]


@pytest.fixture
def model(folder):
    model = open_model(folder).float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(3)  # so that what stands before a token matters to it
    return model


def test_completions_are_those_of_each_prompt_alone(model, tokenizer):
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=12, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id
    )
    asked = [rendered(tokenizer, question) for question in QUESTIONS]
    model.train()
    together = rollouts.sample(model, asked, greedy, [tokenizer.eos_token_id])
    assert model.training
    model.eval()
    for prompt, found in zip(asked, together, strict=True):
        alone = model.generate(torch.tensor([prompt]), generation_config=greedy)[0, len(prompt) :].tolist()
        assert found == alone
    assert together[0] == together[2] != together[1]


def test_a_completion_ends_with_its_first_end_of_turn(model, tokenizer):
    always = GenerationConfig(do_sample=False, max_new_tokens=6, pad_token_id=tokenizer.pad_token_id)
    asked = [rendered(tokenizer, QUESTIONS[0])] * 2
    whole = rollouts.sample(model, asked, always, [])[0]
    assert len(whole) == 6
    place = whole.index(whole[3])
    assert rollouts.sample(model, asked, always, [whole[3]]) == [whole[: place + 1]] * 2


def test_log_probabilities_and_gradients_are_those_of_whole_sequences(model, tokenizer):
    asked = [rendered(tokenizer, question) for question in QUESTIONS]
    said = [
        tokenizer("first add 7 and 8")["input_ids"],
        tokenizer("15.")["input_ids"],
        tokenizer("give 8")["input_ids"],
    ]
    width, n = max(map(len, asked)), max(map(len, said))
    ids = torch.full((3, width + n), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(zip(asked, said, strict=True)):
        place = slice(width - len(prompt), width + len(completion))
        ids[row, place], mask[row, place] = torch.tensor(prompt + completion), 1

    def gradients(logps):
        model.zero_grad()
        (logps * torch.arange(1, 4)[:, None]).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    ours, entropies = rollouts.completion_logps(model, ids, mask, n, temperature=0.7)
    for row, (prompt, completion) in enumerate(zip(asked, said, strict=True)):
        alone = torch.tensor([prompt + completion])
        labels = alone.clone()
        labels[:, : len(prompt)] = -100
        logps, entropy = token_logps(model, alone, labels, 0.7, with_entropy=True)
        torch.testing.assert_close(ours[row, : len(completion)], logps[0, len(prompt) - 1 :], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            entropies[row, : len(completion)], entropy[0, len(prompt) - 1 :], atol=1e-4, rtol=1e-4
        )
        assert ours[row, len(completion) :].abs().sum() == 0
    shared = gradients(ours)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :width] = -100
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    whole = model(input_ids=ids, attention_mask=mask, position_ids=places).logits[:, width - 1 : -1] / 0.7
    targets = ids[:, width:, None]
    logps = torch.log_softmax(whole.float(), dim=-1).gather(2, targets)[..., 0] * mask[:, width:]
    for one, other in zip(shared, gradients(logps), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
