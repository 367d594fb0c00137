from hh_fast.evaluation.tables import markdown_table


def test_numbers_are_aligned_to_the_right_and_words_to_the_left():
    assert markdown_table(["a", "bytes", "of"], [["long name", "1", "me"], ["c", "-", "you all"]]) == (
        "| a         | bytes | of      |\n"
        "| --------- | ----: | ------- |\n"
        "| long name |     1 | me      |\n"
        "| c         |     - | you all |"
    )


def test_a_class_name_cannot_break_the_table():
    assert markdown_table(["true", "a|b"], [["a|b", "3"]]) == (
        "| true     | a&#124;b |\n| -------- | -------: |\n| a&#124;b |        3 |"
    )
