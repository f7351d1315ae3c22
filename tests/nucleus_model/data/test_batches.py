from nucleus_model.data.batches import BatchPlan, Cursor


def test_after_a_batch_comes_the_next_of_its_epoch():
    plan = BatchPlan(Cursor(2, 5, 7), None, None, None, 0)
    assert plan.after == Cursor(2, 5, 8)
