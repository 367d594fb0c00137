from hh_fast.evaluation.tables import confusion_table, markdown_table


def test_numbers_are_aligned_to_the_right_and_words_to_the_left():
    assert markdown_table(["a", "bytes", "of"], [["long name", "1", "me"], ["c", "-", "you all"]]) == (
        "| a         | bytes | of      |\n"
        "| --------- | ----: | ------- |\n"
        "| long name |     1 | me      |\n"
        "| c         |     - | you all |"
    )


def test_a_class_name_cannot_break_the_table():
    assert confusion_table([[3, 1], [0, 12]], ["a|b", "c"]) == (
        "| true \\ predicted | a&#124;b |   c |\n"
        "| ---------------- | -------: | --: |\n"
        "| a&#124;b         |        3 |   1 |\n"
        "| c                |        0 |  12 |"
    )
